//! Lookups that several requests wait for.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The lookups in progress, by name.
///
/// All requests for one name wait for one lookup, which also goes on after they disconnect.
pub struct SharedLookups<T> {
    in_progress: Mutex<InProgress<T>>,
}

type InProgress<T> = HashMap<Box<str>, watch::Receiver<Option<T>>>;

impl<T> Default for SharedLookups<T> {
    fn default() -> Self {
        Self {
            in_progress: Mutex::default(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> SharedLookups<T> {
    /// Returns the result of the lookup of `name`. `None` if the lookup panics, or if the runtime
    /// ends.
    ///
    /// `start` is called if no lookup of the name is in progress, with the number of all lookups in
    /// progress. It returns the result if it is known, or the lookup. No lookup ends meanwhile, so
    /// a result that each lookup stores by itself is found.
    pub async fn get<F>(
        self: &Arc<Self>,
        name: &str,
        start: impl FnOnce(usize) -> ControlFlow<T, F>,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = match self.join_or_start(name, start) {
            ControlFlow::Break(result) => return Some(result),
            ControlFlow::Continue(result) => result,
        };
        let result = result.wait_for(Option::is_some).await;
        result.ok().and_then(|result| result.clone())
    }

    fn join_or_start<F>(
        self: &Arc<Self>,
        name: &str,
        start: impl FnOnce(usize) -> ControlFlow<T, F>,
    ) -> ControlFlow<T, watch::Receiver<Option<T>>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut in_progress = self.lock();
        if let Some(result) = in_progress.get(name) {
            return ControlFlow::Continue(result.clone());
        }
        let lookup = match start(in_progress.len()) {
            ControlFlow::Break(result) => return ControlFlow::Break(result),
            ControlFlow::Continue(lookup) => lookup,
        };
        let (sender, result) = watch::channel(None);
        in_progress.insert(name.into(), result.clone());
        let entry = Entry {
            lookups: Arc::clone(self),
            name: name.into(),
            result: result.clone(),
        };
        // A runtime that shuts down drops the task at once, and with it the entry, which needs the lock.
        drop(in_progress);
        tokio::spawn(async move {
            let found = lookup.await;
            drop(entry);
            // Every request may have gone.
            sender.send_replace(Some(found));
        });
        ControlFlow::Continue(result)
    }
}

impl<T> SharedLookups<T> {
    /// Lets the next request for each name start a lookup of its own. The lookups in progress go on,
    /// for the requests that wait for them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, InProgress<T>> {
        self.in_progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for SharedLookups<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_progress = self.lock().len();
        f.debug_struct("SharedLookups")
            .field("in_progress", &in_progress)
            .finish()
    }
}

/// A lookup in progress. Its drop ends it, also if the lookup panics.
struct Entry<T> {
    lookups: Arc<SharedLookups<T>>,
    name: Box<str>,
    result: watch::Receiver<Option<T>>,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        let mut in_progress = self.lookups.lock();
        let listed = in_progress.get(&self.name);
        // After `clear`, another lookup of the name may have started.
        if listed.is_some_and(|listed| listed.same_channel(&self.result)) {
            in_progress.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn requests_for_one_name_share_a_lookup_that_goes_on_without_them() {
        let lookups = Arc::new(SharedLookups::default());
        let (started, held) = (AtomicUsize::new(0), Arc::new(Semaphore::new(0)));
        let get = |name: &'static str| {
            let (lookups, started, held) = (&lookups, &started, Arc::clone(&held));
            async move {
                let start = |in_progress| {
                    assert_eq!(in_progress, started.fetch_add(1, Ordering::SeqCst));
                    ControlFlow::Continue(async move {
                        let _permit = held.acquire().await;
                        name
                    })
                };
                lookups.get(name, start).await
            }
        };
        let (mut first, mut gone) = (Box::pin(get("acme")), Box::pin(get("umbrella")));
        tokio::select! {
            biased;
            _ = &mut first => panic!("the lookup is held"),
            _ = &mut gone => panic!("the lookup is held"),
            () = tokio::task::yield_now() => {}
        }
        drop(gone);
        held.add_permits(1);
        let (first, second, third) = tokio::join!(first, get("acme"), get("umbrella"));
        assert_eq!((first, second), (Some("acme"), Some("acme")));
        assert_eq!(third, Some("umbrella"));
        assert_eq!(started.load(Ordering::SeqCst), 2);
        assert!(lookups.lock().is_empty());
    }

    #[tokio::test]
    async fn a_lookup_that_panics_has_no_result_and_is_repeated() {
        let lookups = Arc::new(SharedLookups::default());
        let panics = |_| {
            ControlFlow::Continue(async {
                match std::hint::black_box(true) {
                    true => panic!("a fault of the lookup"),
                    false => 0,
                }
            })
        };
        assert_eq!(lookups.get("acme", panics).await, None);
        let known = |_| ControlFlow::<u8, std::future::Ready<u8>>::Break(7);
        assert_eq!(lookups.get("acme", known).await, Some(7));
        let found = |_| ControlFlow::Continue(async { 8 });
        assert_eq!(lookups.get("acme", found).await, Some(8));
    }
}
