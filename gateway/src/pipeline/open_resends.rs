//! [`OpenResends`]: keeps two resends of one event from reaching the upstream at once.

use std::collections::HashSet;

use hookgate_core::ReplayKey;
use parking_lot::Mutex;

use crate::inspector::Found;

/// The resends in progress in this process.
///
/// A resend of an event that is done has no claim, so two of them could reach the upstream at
/// once.
#[derive(Debug, Default)]
pub(crate) struct OpenResends {
    events: Mutex<HashSet<ResentEvent>>,
}

/// The identity of an event that is being sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ResentEvent {
    Key(ReplayKey),
    /// The request id of a delivery that has claimed no event.
    Request(String),
}

/// Keeps other resends of some events away until it is dropped.
#[derive(Debug)]
pub(super) struct ResendHold<'r> {
    resends: &'r OpenResends,
    events: Vec<ResentEvent>,
}

impl OpenResends {
    /// Holds the events of a delivery. Returns `None` if another resend holds one of them.
    pub(super) fn hold(&self, found: &Found) -> Option<ResendHold<'_>> {
        let keys = found.record.replay_keys.iter();
        let mut events: Vec<_> = keys.copied().map(ResentEvent::Key).collect();
        if events.is_empty() {
            events.push(ResentEvent::Request(found.record.request_id.clone()));
        }
        let mut held = self.events.lock();
        if events.iter().any(|event| held.contains(event)) {
            return None;
        }
        held.extend(events.iter().cloned());
        Some(ResendHold {
            resends: self,
            events,
        })
    }
}

impl Drop for ResendHold<'_> {
    fn drop(&mut self) {
        let mut held = self.resends.events.lock();
        for event in &self.events {
            held.remove(event);
        }
    }
}
