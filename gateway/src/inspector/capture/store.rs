//! The captures in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::UnixTime;

use super::Captured;
use crate::inspector::fair_queue::{Class, FairQueue};
use crate::inspector::record::DeliveryRecord;

/// The captures in memory, by their request ids.
#[derive(Debug)]
pub(crate) struct Captures {
    captured: HashMap<Arc<str>, Arc<Captured>>,
    order: FairQueue<Arc<str>>,
}

impl Captures {
    /// Creates an empty store of captures.
    pub(crate) fn new() -> Self {
        Self {
            captured: HashMap::new(),
            order: FairQueue::new(0),
        }
    }

    /// Adds the capture of a request, and evicts others if all together have more than
    /// `max_bytes`.
    pub(crate) fn insert(
        &mut self,
        request_id: &str,
        class: Class,
        captured: Arc<Captured>,
        max_bytes: usize,
    ) {
        let weight = captured.weight();
        self.order.set_limit(max_bytes);
        let id: Arc<str> = request_id.into();
        self.captured.insert(Arc::clone(&id), captured);
        let Self { captured, order } = self;
        order.push(class, id, weight, |id| remove(captured, &id));
    }

    /// Removes the captures that expired, or that are older than `keep_for`, which a reload may
    /// have made shorter.
    pub(crate) fn expire(&mut self, now: UnixTime, keep_for: Duration) {
        let Self { captured, order } = self;
        let mut expired = Vec::new();
        let oldest = now.minus(keep_for);
        let is_expired = |id: &Arc<str>| {
            captured.get(id).is_none_or(|captured| {
                let arrived = captured.capture.arrived;
                captured.expires <= now || arrived.is_some_and(|arrived| arrived <= oldest)
            })
        };
        order.expire(is_expired, |id| expired.push(id));
        expired.iter().for_each(|id| remove(captured, id));
    }

    /// Returns the capture of a request.
    pub(crate) fn get(&self, request_id: &str) -> Option<Arc<Captured>> {
        self.captured.get(request_id).cloned()
    }

    /// Marks a record that was read from the disk, if its request is captured.
    pub(crate) fn mark(&self, record: &mut Arc<DeliveryRecord>) {
        let captured = self.captured.get(&*record.request_id);
        if let (true, Some(captured)) = (record.capture.is_none(), captured) {
            Arc::make_mut(record).capture = captured.mark.clone();
        }
    }

    /// Returns the number of captures.
    pub(crate) fn len(&self) -> usize {
        self.captured.len()
    }

    /// Returns the number of bytes that the captures take.
    pub(crate) fn bytes(&self) -> usize {
        self.order.weight()
    }
}

fn remove(captured: &mut HashMap<Arc<str>, Arc<Captured>>, request_id: &str) {
    if let Some(removed) = captured.remove(request_id) {
        removed.mark.set_gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspector::capture::tests::captured;

    const LIMIT: usize = 1 << 20;

    /// Inserts two genuine captures, and then a flood of forged requests of the given class.
    fn kept_after_flood(genuine: [Class; 2], flood: Class) -> [bool; 2] {
        let mut captures = Captures::new();
        let mut marks = Vec::new();
        for (seq, class) in genuine.into_iter().enumerate() {
            let capture = Arc::new(captured(b"genuine", 1000));
            marks.push(capture.mark.clone());
            captures.insert(&seq.to_string(), class, capture, LIMIT);
        }
        for seq in 2..100_002 {
            let forged = Arc::new(captured(b"forged", 1000));
            captures.insert(&seq.to_string(), flood, forged, LIMIT);
        }
        assert!(captures.bytes() <= LIMIT);
        assert!(captures.len() > 100, "the flood uses the free memory");
        let kept = ["0", "1"].map(|id| captures.get(id).is_some());
        assert_eq!(kept, [!marks[0].is_none(), !marks[1].is_none()]);
        kept
    }

    #[test]
    fn a_flood_of_forged_requests_keeps_the_genuine_captures() {
        let refused = Class::Unverified(1);
        let flood = Class::Unverified(2);
        assert_eq!(
            kept_after_flood([Class::Verified, refused], flood),
            [true, true]
        );
        // The control: captures of the class of the flood go.
        assert_eq!(kept_after_flood([flood, flood], flood), [false, false]);
    }

    #[test]
    fn a_record_of_another_process_gets_no_capture() {
        let mut captures = Captures::new();
        let capture = Arc::new(captured(b"body", 1000));
        captures.insert("own", Class::Verified, capture, LIMIT);
        let marked = |request_id: &str| {
            let mut record = Arc::new(DeliveryRecord {
                request_id: request_id.to_owned(),
                ..DeliveryRecord::default()
            });
            captures.mark(&mut record);
            !record.capture.is_none()
        };
        // Two processes can give two records the same number.
        assert!(!marked("foreign"));
        assert!(marked("own"));
    }

    #[test]
    fn a_capture_expires_and_its_record_loses_it() {
        let mut captures = Captures::new();
        let capture = Arc::new(captured(b"body", 1000));
        let mark = capture.mark.clone();
        captures.insert("1", Class::Verified, capture, LIMIT);
        let at = |seconds: i64| UnixTime::from_secs(1000 + seconds);
        let hour = Duration::from_secs(3600);
        captures.expire(at(3599), hour);
        assert!(!mark.is_none());
        // A reload with a longer time keeps no capture for longer.
        captures.expire(at(3600), 2 * hour);
        assert!(mark.is_none());
        assert_eq!((captures.len(), captures.bytes()), (0, 0));
    }
}
