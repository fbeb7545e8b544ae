//! The tenants whose files are being read.
//!
//! A file may hang, for example on a network file system whose server is gone. It then takes one
//! thread in all, and not one more for each delivery.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the files of one tenant may take, before they count as hung.
pub(super) const MAX_READ: Duration = Duration::from_secs(1);

/// The reads that have not ended, with the times of their start.
#[derive(Debug, Default)]
pub(super) struct OpenReads {
    started: Mutex<HashMap<Box<str>, Instant>>,
}

/// A read that has not ended. Its drop ends it.
#[derive(Debug)]
pub(super) struct OpenRead {
    reads: Arc<OpenReads>,
    tenant: Box<str>,
}

impl OpenReads {
    /// Starts a read of the files of `tenant`. Returns `None` if an earlier one has not ended.
    pub(super) fn start(self: &Arc<Self>, tenant: &str, now: Instant) -> Option<OpenRead> {
        let mut started = self.started.lock();
        if started.contains_key(tenant) {
            return None;
        }
        started.insert(tenant.into(), now);
        Some(OpenRead {
            reads: Arc::clone(self),
            tenant: tenant.into(),
        })
    }

    /// Returns whether a read has not ended.
    pub(super) fn is_open(&self, tenant: &str) -> bool {
        self.started.lock().contains_key(tenant)
    }

    /// Returns whether a read takes too long.
    pub(super) fn is_hung(&self, tenant: &str) -> bool {
        let started = self.started.lock();
        let started = started.get(tenant);
        started.is_some_and(|started| started.elapsed() >= MAX_READ)
    }

    /// Returns the number of reads that have not ended.
    pub(super) fn len(&self) -> usize {
        self.started.lock().len()
    }
}

impl OpenRead {
    /// Ends the read, and returns the name of its tenant.
    pub(super) fn end(self) -> Box<str> {
        self.tenant.clone()
    }
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        self.reads.started.lock().remove(&self.tenant);
    }
}
