//! [`Discovery`]: finds the sources whose deliveries wait in the queue, before their first request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_queue::{EntryFilter, EntryId, EntryInfo, Page, QueueError, QueueStore};
use tokio::time::sleep;

use crate::resolve::ListSources;

/// How often waiting deliveries of unknown sources are looked for. Another process can store them.
const INTERVAL: Duration = Duration::from_secs(60);

/// The number of deliveries whose tenants are looked up at a time, for each source.
const PAGE: usize = 1000;

/// Looks up the sources of waiting deliveries whose name the resolver does not list.
///
/// After a restart, a resolver that looks tenants up knows no source until the first request. The
/// workers serve only the names that it lists.
pub(super) struct Discovery<Q, V> {
    queue: Arc<Q>,
    resolver: Arc<V>,
    /// The delivery at which the next page begins, by the name of its source. The tenants of the
    /// deliveries before have no source.
    looked_up: HashMap<Box<str>, EntryId>,
}

impl<Q: QueueStore, V: ListSources> Discovery<Q, V> {
    pub(super) fn new(queue: Arc<Q>, resolver: Arc<V>) -> Self {
        Self {
            queue,
            resolver,
            looked_up: HashMap::new(),
        }
    }

    /// Looks for deliveries of unknown sources from time to time.
    pub(super) async fn run(mut self) {
        loop {
            sleep(INTERVAL).await;
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = %ErrorChain(&error),
                    "the queue cannot be searched for deliveries of sources without a request"
                );
            }
        }
    }

    /// Looks up the sources whose deliveries wait.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue cannot be read.
    pub(super) async fn look(&mut self) -> Result<(), QueueError> {
        let stats = self.queue.stats().await?;
        let listed = self.resolver.sources();
        let orphans = stats.orphans(|name| listed.iter().any(|source| source.name() == name));
        for (name, waiting) in orphans {
            if !self.find_source(name).await? {
                tracing::warn!(
                    source = name,
                    waiting,
                    "deliveries wait in the queue, because the resolver has no source with this \
                     name; add the source, or delete the deliveries"
                );
            }
        }
        Ok(())
    }

    /// Returns whether a tenant of the source `name` was found.
    async fn find_source(&mut self, name: &str) -> Result<bool, QueueError> {
        let filter = EntryFilter {
            source: Some(name.into()),
            ..EntryFilter::default()
        };
        let page = Page {
            after: self.looked_up.remove(name),
            limit: PAGE,
        };
        let entries = self.queue.list(&filter, page).await?;
        if entries.len() == PAGE
            && let Some(last) = entries.last()
        {
            self.looked_up.insert(name.into(), last.id);
        }
        let tenants: HashSet<_> = entries.iter().map(tenant).collect();
        for tenant in tenants {
            match self.resolver.find_source(name, tenant).await {
                Ok(Some(_)) => return Ok(true),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        source = name,
                        tenant,
                        error = %ErrorChain(&*error),
                        "the source of a queued delivery cannot be looked up now"
                    );
                    // The next round begins with this page.
                    self.looked_up.remove(name);
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }
}

fn tenant(entry: &EntryInfo) -> Option<&str> {
    entry.tenant.as_deref()
}
