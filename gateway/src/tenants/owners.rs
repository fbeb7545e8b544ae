//! Which tenant has which key, to refuse two tenants with equal keys.
//!
//! The tenant is part of the replay key, and the URL alone names it. With equal keys, a captured
//! delivery to one tenant would verify for the other.

use std::sync::Arc;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;

/// The number of keys that a source remembers. One takes about 100 bytes.
const MAX_KEYS: u64 = 1 << 20;

/// The digest of a key, under the random salt of [`KeyOwners`].
pub(super) type KeyDigest = [u8; 16];

/// The owners of the keys that the tenants of one source have used.
///
/// They outlive the tenants in the cache, because a tenant that is idle keeps its keys.
#[derive(Debug)]
pub(super) struct KeyOwners {
    pub(super) salt: [u8; 32],
    owners: Cache<KeyDigest, Arc<str>>,
    /// Held while several keys change their owner together.
    changing: Mutex<()>,
}

impl KeyOwners {
    pub(super) fn new(salt: [u8; 32]) -> Self {
        let owners = Cache::builder().max_capacity(MAX_KEYS);
        Self {
            salt,
            // The default policy may refuse a new key.
            owners: owners.eviction_policy(EvictionPolicy::lru()).build(),
            changing: Mutex::new(()),
        }
    }

    /// Makes `tenant` the owner of `keys`.
    ///
    /// # Errors
    ///
    /// Returns the tenant that owns one of the keys. Nothing has changed then.
    pub(super) fn claim(&self, tenant: &Arc<str>, keys: &[KeyDigest]) -> Result<(), Arc<str>> {
        let _changing = self.changing.lock();
        for key in keys {
            if let Some(owner) = self.owners.get(key)
                && owner != *tenant
            {
                return Err(owner);
            }
        }
        for key in keys {
            self.owners.insert(*key, Arc::clone(tenant));
        }
        Ok(())
    }

    /// Removes those of `keys` from `tenant` that are not among its keys `in_use` any more.
    pub(super) fn release(&self, tenant: &str, keys: &[KeyDigest], in_use: &[KeyDigest]) {
        let _changing = self.changing.lock();
        for key in keys.iter().filter(|key| !in_use.contains(key)) {
            if self.owners.get(key).is_some_and(|owner| *owner == *tenant) {
                self.owners.invalidate(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_owner_until_it_is_released() {
        let owners = KeyOwners::new([0; 32]);
        let (acme, umbrella): (Arc<str>, Arc<str>) = ("acme".into(), "umbrella".into());
        let (one, two) = ([1; 16], [2; 16]);
        assert_eq!(owners.claim(&acme, &[one]), Ok(()));
        assert_eq!(owners.claim(&acme, &[one]), Ok(()));
        assert_eq!(owners.claim(&umbrella, &[two, one]), Err(Arc::clone(&acme)));
        // A refused claim changes nothing.
        assert_eq!(owners.claim(&acme, &[two]), Ok(()));
        owners.release("umbrella", &[one], &[]);
        owners.release("acme", &[one], &[one]);
        assert_eq!(owners.claim(&umbrella, &[one]), Err(Arc::clone(&acme)));
        owners.release("acme", &[one], &[two]);
        assert_eq!(owners.claim(&umbrella, &[one]), Ok(()));
    }
}
