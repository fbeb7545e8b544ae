//! The documents of a source, the names that no key has, and the decision about a reference.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hookgate_core::{FetchedKey, UnixTime, VerifyError};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::budget::{Budget, Grant, Network};
use crate::slot::{Freshness, Loaded, REFRESH_INTERVAL, Slot, has_passed, since};
use crate::target::{Content, Target};

/// The most documents in memory.
const MAX_DOCUMENTS: usize = 1000;
/// The most names of missing keys in memory.
const MAX_MISSING: usize = 1000;
/// The time for which a document counts as used, for statistics.
const IN_USE: Duration = Duration::from_secs(3600);

/// The documents of one source.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) slots: HashMap<String, Slot>,
    pub(crate) budget: Budget,
    /// Documents that the host does not have, with the time of its answer. Oldest first.
    missing: VecDeque<(String, UnixTime)>,
    /// The access token, and the time until which it counts.
    pub(crate) token: Option<(String, UnixTime)>,
    /// Certificates of issuers, by their addresses.
    pub(crate) issuers: HashMap<String, CertificateDer<'static>>,
}

/// The decision about a reference.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The key is known. If `refresh` is true, its document should be fetched again meanwhile.
    Known { key: FetchedKey, refresh: bool },
    /// A request for the document must begin.
    Fetch,
    /// A request for the document is under way.
    Wait(watch::Receiver<()>),
    /// There is no key, and none can be asked for now.
    Refuse(VerifyError),
}

impl State {
    /// Decides about `target`. `keep` is the age up to which keys count in an outage.
    pub(crate) fn decide(
        &mut self,
        target: &Target,
        network: Network,
        keep: Duration,
        now: UnixTime,
    ) -> Decision {
        let slot = self.slots.get_mut(&target.document);
        let Some(slot) = slot else {
            return self.decide_first(target, network, now);
        };
        if let Some(loaded) = &slot.loaded
            && let Some(key) = loaded.key(target)
            && let freshness = loaded.freshness(keep, now)
            && freshness != Freshness::Expired
        {
            slot.used = now;
            let key = key.clone();
            let may_fetch = slot.flight().is_none() && slot.has_backed_off(now);
            return match slot.flight() {
                _ if freshness != Freshness::Stale => Decision::Known {
                    key,
                    refresh: may_fetch && freshness == Freshness::Due,
                },
                Some(flight) => Decision::Wait(flight),
                None if may_fetch => Decision::Fetch,
                // An outage: the last good key counts until the next request.
                None => Decision::Known {
                    key,
                    refresh: false,
                },
            };
        }
        if let Some(flight) = slot.flight() {
            return Decision::Wait(flight);
        }
        if slot.failures > 0 {
            // A sender can name many documents that fail, so the budget bounds their retries, too.
            let is_bounded = target.is_chosen_by_sender && slot.loaded.is_none();
            let may_fetch = slot.has_backed_off(now)
                && (!is_bounded || self.budget.take(network, now) == Grant::Granted);
            return match may_fetch {
                true => Decision::Fetch,
                false => Decision::Refuse(VerifyError::KeyUnavailable),
            };
        }
        match slot.loaded.is_none() || slot.may_have_new_keys(now) {
            true => Decision::Fetch,
            false => Decision::Refuse(VerifyError::KeyUnknown),
        }
    }

    /// Decides about a document that was never fetched.
    fn decide_first(&mut self, target: &Target, network: Network, now: UnixTime) -> Decision {
        if self.is_missing(&target.document, now) {
            return Decision::Refuse(VerifyError::KeyUnknown);
        }
        if target.is_chosen_by_sender {
            match self.budget.take(network, now) {
                Grant::Granted => {}
                // A sender of many names is no outage of the provider.
                Grant::ShareSpent => return Decision::Refuse(VerifyError::KeyUnknown),
                Grant::BudgetSpent => return Decision::Refuse(VerifyError::KeyUnavailable),
            }
        }
        match self.make_room() {
            true => Decision::Fetch,
            false => Decision::Refuse(VerifyError::KeyUnavailable),
        }
    }

    /// Returns the key after a request for its document has ended, or the last good key if the
    /// delivery cannot wait for that.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::KeyUnavailable`] if the request failed or is under way, and
    /// [`VerifyError::KeyUnknown`] if the document lacks the key.
    pub(crate) fn after_fetch(
        &mut self,
        target: &Target,
        keep: Duration,
        now: UnixTime,
    ) -> Result<FetchedKey, VerifyError> {
        let Some(slot) = self.slots.get_mut(&target.document) else {
            return Err(match self.is_missing(&target.document, now) {
                true => VerifyError::KeyUnknown,
                false => VerifyError::KeyUnavailable,
            });
        };
        let loaded = slot.loaded.as_ref();
        let key = loaded.filter(|loaded| loaded.freshness(keep, now) != Freshness::Expired);
        match key.and_then(|loaded| loaded.key(target)) {
            Some(key) => {
                slot.used = now;
                Ok(key.clone())
            }
            None if slot.failures > 0 || slot.flight().is_some() => {
                Err(VerifyError::KeyUnavailable)
            }
            None => Err(VerifyError::KeyUnknown),
        }
    }

    /// Stores the keys of a document.
    pub(crate) fn store(&mut self, target: &Target, loaded: Loaded) {
        let slot = self
            .slots
            .entry(target.document.clone())
            .or_insert_with(|| Slot::new(loaded.fetched));
        slot.loaded = Some(loaded.into());
        slot.failures = 0;
        slot.flight = None;
    }

    /// Notes that a request has failed. `is_missing`: the host has no such document.
    pub(crate) fn fail(&mut self, target: &Target, is_missing: bool, now: UnixTime) {
        let Some(slot) = self.slots.get_mut(&target.document) else {
            return;
        };
        slot.flight = None;
        slot.failures += 1;
        // A host that lost a document it had before is an outage, too: the key is kept.
        if is_missing && slot.loaded.is_none() && target.content == Content::OneKey {
            self.slots.remove(&target.document);
            self.missing.push_back((target.document.clone(), now));
            if self.missing.len() > MAX_MISSING {
                self.missing.pop_front();
            }
        }
    }

    fn is_missing(&mut self, document: &str, now: UnixTime) -> bool {
        self.missing
            .retain(|(_, since)| !has_passed(*since, REFRESH_INTERVAL, now));
        self.missing.iter().any(|(name, _)| name == document)
    }

    /// Makes room for another document: a document without keys goes first, then the least
    /// recently used document. Returns whether there is room.
    fn make_room(&mut self) -> bool {
        if self.slots.len() < MAX_DOCUMENTS {
            return true;
        }
        let idle = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.flight().is_none());
        let oldest = idle.min_by_key(|(_, slot)| (slot.loaded.is_some(), slot.used));
        match oldest.map(|(document, _)| document.clone()) {
            Some(document) => self.slots.remove(&document).is_some(),
            None => false,
        }
    }

    /// Returns the number of keys, and the age of the oldest document in use.
    pub(crate) fn inventory(&self, now: UnixTime) -> (usize, Option<Duration>) {
        let loaded = || self.slots.values().filter_map(|slot| slot.loaded.as_ref());
        let in_use = self
            .slots
            .values()
            .filter(|slot| !has_passed(slot.used, IN_USE, now))
            .filter_map(|slot| slot.loaded.as_ref());
        (
            loaded().map(|loaded| loaded.keys.len()).sum(),
            in_use.filter_map(|loaded| since(loaded.fetched, now)).max(),
        )
    }
}
