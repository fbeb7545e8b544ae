//! [`Lookups`]: the lookups in progress, and their results.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hookgate_core::internal::ErrorChain;
use hookgate_gate::Source;
use hookgate_gate::internal::SharedLookups;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Limits, LookUpSource};
use crate::record;

/// The results of lookups, and the lookups in progress.
pub(super) struct Lookups<S, L> {
    state: S,
    lookup: L,
    /// Created by the first request.
    results: OnceLock<Results>,
    /// The lookups in progress, by tenant. A result is kept before its lookup is removed from here.
    in_progress: Arc<SharedLookups<Outcome>>,
    /// The number of calls of [`forget`](Self::forget). Its lock is held while a result is kept.
    forgotten: Mutex<u64>,
    /// The source that was found last, for each name of a source.
    found_last: Mutex<HashMap<Box<str>, Arc<Source>>>,
    permits: Semaphore,
    /// A lookup of a tenant that has had no source needs one of these, too.
    unknown_permits: Semaphore,
}

pub(super) struct Results {
    /// The sources with the time until which each counts. An expired one marks a known tenant.
    pub(super) present: Cache<Box<str>, (Arc<Source>, Instant)>,
    /// The names without a source.
    pub(super) absent: Cache<Box<str>, Instant>,
}

/// The reason of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A request, whose sender may have invented the tenant.
    Request,
    /// A queued delivery, which has verified.
    Queue,
}

/// The result of a lookup, or the text of its error.
type Outcome = Result<Option<Arc<Source>>, Arc<str>>;

const MAX_LOOKUPS: usize = 64;
const MAX_UNKNOWN_LOOKUPS: usize = MAX_LOOKUPS / 2;

/// If this number of lookups runs or waits, a tenant without a source is not looked up.
const MAX_WAITING: usize = 1024;

impl Results {
    fn new(max_entries: u64) -> Self {
        // The default policy may refuse a new tenant, which would be looked up for each delivery.
        let lru = EvictionPolicy::lru;
        let present = Cache::builder().max_capacity(max_entries);
        let absent = Cache::builder().max_capacity(max_entries);
        Self {
            present: present.eviction_policy(lru()).build(),
            absent: absent.eviction_policy(lru()).build(),
        }
    }

    /// Returns the result for `tenant` that has not expired.
    pub(super) fn get(&self, tenant: &str) -> Option<Option<Arc<Source>>> {
        let now = Instant::now();
        match self.present.get(tenant) {
            Some((source, until)) => (now < until).then_some(Some(source)),
            None => {
                let until = self.absent.get(tenant)?;
                (now < until).then_some(None)
            }
        }
    }

    /// Makes the results for `tenant` count no longer: that of the name, and those of other names
    /// whose source has this tenant. The names stay known.
    fn expire(&self, tenant: &str) {
        let now = Instant::now();
        let kept = self.present.iter();
        let of_tenant = kept
            .filter(|(name, (source, _))| &***name == tenant || source.tenant() == Some(tenant));
        let of_tenant: Vec<_> = of_tenant.collect();
        for (name, (source, _)) in of_tenant {
            self.present.insert(Box::clone(&name), (source, now));
        }
        self.absent.invalidate(tenant);
    }

    fn insert(&self, tenant: &str, source: Option<Arc<Source>>, limits: Limits) {
        let now = Instant::now();
        match source {
            Some(source) => self
                .present
                .insert(tenant.into(), (source, now + limits.ttl)),
            None => {
                self.present.invalidate(tenant);
                self.absent.insert(tenant.into(), now + limits.absent_ttl);
            }
        }
    }
}

impl<S, L> Lookups<S, L>
where
    S: Send + Sync + 'static,
    L: for<'a> LookUpSource<'a, S> + Send + Sync + 'static,
{
    /// Returns the result of the lookup of `tenant`. Starts it unless it is kept or in progress.
    pub(super) async fn find(
        self: &Arc<Self>,
        tenant: &str,
        asker: Asker,
        limits: Limits,
    ) -> Outcome {
        let results = self.results(limits);
        if let Some(result) = results.get(tenant) {
            return Ok(result);
        }
        let start = |in_progress| {
            if let Some(result) = results.get(tenant) {
                return ControlFlow::Break(Ok(result));
            }
            let is_known = asker == Asker::Queue || results.present.contains_key(tenant);
            if !is_known && in_progress >= MAX_WAITING {
                let error = "too many lookups of unknown tenants are in progress";
                return ControlFlow::Break(Err(error.into()));
            }
            let (lookups, tenant) = (Arc::clone(self), Box::<str>::from(tenant));
            let forgotten = *self.forgotten();
            ControlFlow::Continue(async move {
                let found = lookups.look_up(&tenant, is_known, limits).await?;
                lookups.keep(&tenant, found.clone(), forgotten, limits);
                Ok(found)
            })
        };
        let outcome = self.in_progress.get(tenant, start).await;
        outcome.unwrap_or_else(|| Err("the lookup of the source panicked".into()))
    }

    async fn look_up(&self, tenant: &str, is_known: bool, limits: Limits) -> Outcome {
        let Lookups {
            state,
            lookup,
            permits,
            unknown_permits,
            ..
        } = self;
        let found = async {
            // The semaphores are never closed.
            let _unknown = match is_known {
                true => None,
                false => unknown_permits.acquire().await.ok(),
            };
            let _permit = permits.acquire().await.ok();
            lookup(state, tenant).await
        };
        let found = timeout(limits.deadline, found).await.map_err(|_elapsed| {
            let deadline = limits.deadline;
            format!("the lookup of the source did not end within {deadline:?}")
        })?;
        let source = found.map_err(|error| ErrorChain(&*error).to_string())?;
        let source = source.map(Arc::new);
        if let Some(source) = &source {
            self.note_found(source, limits);
            if !is_known {
                record::weak_keys(source);
            }
        }
        Ok(source)
    }
}

impl<S, L> Lookups<S, L> {
    pub(super) fn new(state: S, lookup: L) -> Self {
        Self {
            state,
            lookup,
            results: OnceLock::new(),
            in_progress: Arc::default(),
            forgotten: Mutex::default(),
            found_last: Mutex::default(),
            permits: Semaphore::new(MAX_LOOKUPS),
            unknown_permits: Semaphore::new(MAX_UNKNOWN_LOOKUPS),
        }
    }

    pub(super) fn results(&self, limits: Limits) -> &Results {
        self.results
            .get_or_init(|| Results::new(limits.max_entries))
    }

    /// Returns one source of each name that a lookup has found.
    pub(super) fn of_each_name(&self) -> Vec<Arc<Source>> {
        self.found_last().values().cloned().collect()
    }

    fn note_found(&self, source: &Arc<Source>, limits: Limits) {
        let mut found = self.found_last();
        let max = usize::try_from(limits.max_entries).unwrap_or(usize::MAX);
        if found.contains_key(source.name()) || found.len() < max {
            found.insert(source.name().into(), Arc::clone(source));
        }
    }

    fn found_last(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Source>>> {
        self.found_last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn forgotten(&self) -> MutexGuard<'_, u64> {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the result of a lookup that began after `forgotten` calls of [`forget`](Self::forget). If
    /// there were more calls since, it may have read an old secret.
    fn keep(&self, tenant: &str, found: Option<Arc<Source>>, forgotten: u64, limits: Limits) {
        let now_forgotten = self.forgotten();
        if *now_forgotten == forgotten {
            self.results(limits).insert(tenant, found, limits);
        }
    }

    /// Drops the results for `tenant`.
    pub(super) fn forget(&self, tenant: &str) {
        // Each lookup may have read the old secret of the tenant under another name.
        self.in_progress.clear();
        let mut forgotten = self.forgotten();
        *forgotten += 1;
        if let Some(results) = self.results.get() {
            results.expire(tenant);
        }
    }
}
