//! A cache with the interface of moka. Each operation is one step.
//!
//! Moka itself cannot run under shuttle: it drops removed values at a later time, in another
//! execution of the model.

use std::time::Instant;

/// Decides how long the cache keeps an entry.
pub trait Expiry<K, V> {
    fn expire_after_create(&self, key: &K, value: &V, now: Instant) -> Option<std::time::Duration>;
}

pub mod sync {
    use std::collections::HashMap;
    use std::hash::{BuildHasher, Hash};
    use std::sync::Arc;

    use super::Expiry;
    use crate::stand_ins::parking_lot::Mutex;
    use crate::stand_ins::time::Instant;

    type SharedExpiry<K, V> = Arc<dyn Expiry<K, V> + Send + Sync>;

    pub struct Cache<K, V, S> {
        entries: Mutex<HashMap<K, Entry<V>, S>>,
        expiry: SharedExpiry<K, V>,
    }

    struct Entry<V> {
        value: V,
        end: Option<Instant>,
    }

    pub struct CacheBuilder<K, V>(Option<SharedExpiry<K, V>>);

    impl<K, V> Cache<K, V, foldhash::fast::RandomState> {
        pub fn builder() -> CacheBuilder<K, V> {
            CacheBuilder(None)
        }
    }

    impl<K: Eq + Hash, V> CacheBuilder<K, V> {
        pub fn expire_after(mut self, expiry: impl Expiry<K, V> + Send + Sync + 'static) -> Self {
            self.0 = Some(Arc::new(expiry));
            self
        }

        pub fn build_with_hasher<S: BuildHasher>(self, hasher: S) -> Cache<K, V, S> {
            Cache {
                entries: Mutex::new(HashMap::with_hasher(hasher)),
                expiry: self.0.expect("the product sets an expiry"),
            }
        }
    }

    impl<K: Eq + Hash + Copy, V: Clone, S: BuildHasher> Cache<K, V, S> {
        pub fn contains_key(&self, key: &K) -> bool {
            self.get(key).is_some()
        }

        pub fn get(&self, key: &K) -> Option<V> {
            let entries = self.entries.lock();
            let entry = entries.get(key).filter(|entry| entry.is_live())?;
            Some(entry.value.clone())
        }

        pub fn insert(&self, key: K, value: V) {
            let now = Instant::now();
            let kept = self
                .expiry
                .expire_after_create(&key, &value, now.into_std());
            let end = kept.map(|kept| now + kept);
            let replaced = self.entries.lock().insert(key, Entry { value, end });
            // The drop of a value is a step of its own.
            drop(replaced);
        }

        pub fn invalidate(&self, key: &K) {
            let removed = self.entries.lock().remove(key);
            drop(removed);
        }

        pub fn run_pending_tasks(&self) {
            let mut entries = self.entries.lock();
            let ended: Vec<_> = entries.extract_if(|_, entry| !entry.is_live()).collect();
            drop(entries);
            drop(ended);
        }
    }

    impl<V> Entry<V> {
        fn is_live(&self) -> bool {
            self.end.is_none_or(|end| Instant::now() < end)
        }
    }
}
