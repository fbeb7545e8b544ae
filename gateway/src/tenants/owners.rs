//! Which tenants have which key, to refuse tenants with equal keys.
//!
//! The tenant is part of the replay key, and the URL alone names it. With equal keys, a captured
//! delivery to one tenant would verify for the other. All tenants with files of an equal key are
//! refused. A rule that serves one of them would depend on the order of the requests, or on names
//! that an operator chooses freely.
//!
//! A resolver may answer for a name that a stranger invents, for example if it ignores case. The
//! first tenant with a key therefore keeps it there.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

/// The digest of a key, under a random salt.
pub(super) type KeyDigest = [u8; 16];

/// The keys of the tenants of one source. A tenant takes about 200 bytes.
#[derive(Debug, Default)]
pub(super) struct KeyOwners {
    tenants: HashMap<Arc<str>, TenantKeyDigests>,
    owners: HashMap<KeyDigest, SmallVec<[Arc<str>; 1]>>,
}

/// The keys of one tenant.
#[derive(Debug)]
struct TenantKeyDigests {
    digests: SmallVec<[KeyDigest; 1]>,
    files: RecordedFiles,
}

/// The files of a tenant, as its keys were recorded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecordedFiles {
    /// The version of the files, if they must change with it.
    pub(super) version: Option<u64>,
    /// Whether each change of the files is a change in their directories.
    pub(super) are_direct: bool,
}

impl KeyOwners {
    /// Records the keys of `tenant`, in place of its earlier ones. A tenant without keys is
    /// removed. Returns the other tenants that have one of the keys.
    pub(super) fn set(
        &mut self,
        tenant: &str,
        digests: &[KeyDigest],
        files: RecordedFiles,
    ) -> Vec<Arc<str>> {
        self.remove(tenant);
        if digests.is_empty() {
            return Vec::new();
        }
        let name: Arc<str> = tenant.into();
        let mut others = Vec::new();
        for digest in digests {
            let owners = self.owners.entry(*digest).or_default();
            others.extend(owners.iter().cloned());
            owners.push(Arc::clone(&name));
        }
        let digests = digests.into();
        self.tenants
            .insert(name, TenantKeyDigests { digests, files });
        others
    }

    /// Removes a tenant and its keys.
    pub(super) fn remove(&mut self, tenant: &str) {
        let Some(removed) = self.tenants.remove(tenant) else {
            return;
        };
        for digest in &removed.digests {
            if let Some(owners) = self.owners.get_mut(digest) {
                owners.retain(|owner| **owner != *tenant);
                if owners.is_empty() {
                    self.owners.remove(digest);
                }
            }
        }
    }

    /// Removes the tenants that do not exist any more, and returns them.
    pub(super) fn retain(&mut self, exists: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let tenants = self.tenants.keys();
        let gone: Vec<Arc<str>> = tenants.filter(|name| !exists(name)).cloned().collect();
        for tenant in &gone {
            self.remove(tenant);
        }
        gone
    }

    /// Returns whether the keys of `tenant` are those of `digests`, and no others.
    pub(super) fn has(&self, tenant: &str, digests: &[KeyDigest]) -> bool {
        let known = self.tenants.get(tenant);
        known.is_some_and(|known| known.digests[..] == *digests)
    }

    /// Returns another tenant that has a key of `tenant`. The first in the order of names is
    /// returned.
    pub(super) fn shares_with(&self, tenant: &str) -> Option<Arc<str>> {
        self.other_owner(tenant, &self.tenants.get(tenant)?.digests)
    }

    /// Returns a tenant other than `tenant` that has one of these keys. The first in the order of
    /// names is returned.
    pub(super) fn other_owner(&self, tenant: &str, digests: &[KeyDigest]) -> Option<Arc<str>> {
        let owners = digests.iter().filter_map(|digest| self.owners.get(digest));
        let others = owners.flatten().filter(|owner| ***owner != *tenant);
        others.min().cloned()
    }

    /// Returns the files that the keys of `tenant` were recorded with.
    pub(super) fn files(&self, tenant: &str) -> RecordedFiles {
        let known = self.tenants.get(tenant);
        known.map(|known| known.files).unwrap_or_default()
    }

    /// Returns one of the tenants.
    pub(super) fn any(&self) -> Option<Arc<str>> {
        self.tenants.keys().next().cloned()
    }

    pub(super) fn contains(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }

    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }

    /// Returns the tenants of each key that several tenants have, in the order of their names.
    pub(super) fn shared(&self) -> Vec<Vec<Arc<str>>> {
        let shared = self.owners.values().filter(|owners| owners.len() > 1);
        let mut shared: Vec<Vec<Arc<str>>> = shared
            .map(|owners| {
                let mut owners = owners.to_vec();
                owners.sort_unstable();
                owners
            })
            .collect();
        shared.sort_unstable();
        // Two tenants can have several equal keys.
        shared.dedup();
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: KeyDigest = [1; 16];
    const TWO: KeyDigest = [2; 16];

    fn version(version: u64) -> RecordedFiles {
        RecordedFiles {
            version: Some(version),
            are_direct: true,
        }
    }

    fn names(tenants: &[Arc<str>]) -> Vec<&str> {
        tenants.iter().map(|tenant| &**tenant).collect()
    }

    #[test]
    fn the_tenants_of_an_equal_key_do_not_depend_on_the_order() {
        for order in [["acme", "acme.bak"], ["acme.bak", "acme"]] {
            let mut owners = KeyOwners::default();
            assert!(owners.set(order[0], &[ONE], version(1)).is_empty());
            assert_eq!(owners.shares_with(order[0]), None);
            assert_eq!(
                names(&owners.set(order[1], &[TWO, ONE], version(1))),
                [order[0]]
            );
            for (tenant, other) in [("acme", "acme.bak"), ("acme.bak", "acme")] {
                assert_eq!(owners.shares_with(tenant).as_deref(), Some(other));
            }
            let shared = owners.shared();
            assert_eq!(shared.len(), 1);
            assert_eq!(names(&shared[0]), ["acme", "acme.bak"]);
        }
    }

    #[test]
    fn a_key_that_a_tenant_gives_up_is_shared_no_more() {
        let mut owners = KeyOwners::default();
        owners.set("acme", &[ONE], version(1));
        owners.set("umbrella", &[ONE], version(1));
        assert!(owners.set("acme", &[TWO], version(2)).is_empty());
        assert!(owners.has("acme", &[TWO]) && !owners.has("acme", &[ONE]));
        assert_eq!(owners.files("acme").version, Some(2));
        assert_eq!(owners.shares_with("umbrella"), None);
        owners.set("acme", &[ONE], version(3));
        assert!(owners.shares_with("umbrella").is_some());
        owners.remove("acme");
        owners.set("umbrella", &[], version(4));
        assert!(owners.shared().is_empty() && owners.len() == 0);
        assert!(owners.owners.is_empty());
    }
}
