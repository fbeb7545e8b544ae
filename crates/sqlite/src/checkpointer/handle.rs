//! [`CheckpointerHandle`]: the writer's side of a checkpointer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use hookgate_core::internal::ErrorChain;
use rusqlite::Connection;

use super::report::checkpoint_log;

/// The number of commits after which a writer asks for a sync of the log. A sync of many pages
/// would keep the disk busy for so long that writers wait.
const COMMITS_PER_SYNC: u64 = 128;

/// The requests of the writer and the checkpointer to each other.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The writer asks for a checkpoint now.
    pub(super) checkpoint: AtomicBool,
    /// The number of commits at which the writer last asked for a sync.
    pub(super) sync_asked_at: AtomicU64,
    /// The checkpointer asks the writer to copy the last pages of a large log.
    pub(super) last_pages: AtomicBool,
}

/// The writer's side of a checkpointer.
#[derive(Clone, Debug)]
pub struct CheckpointerHandle {
    pub(super) thread: Thread,
    pub(super) commits: Arc<AtomicU64>,
    pub(super) requests: Arc<Requests>,
}

impl CheckpointerHandle {
    /// Runs the next checkpoint now.
    pub fn wake(&self) {
        self.requests.checkpoint.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }

    /// Asks for a sync of the log if there were many commits since the last one.
    pub(crate) fn request_sync(&self) {
        let commits = self.commits.load(Ordering::Relaxed);
        let asked_at = &self.requests.sync_asked_at;
        if commits - asked_at.load(Ordering::Relaxed) >= COMMITS_PER_SYNC {
            asked_at.store(commits, Ordering::Relaxed);
            self.thread.unpark();
        }
    }

    /// Copies the last pages of a large log. The next transaction starts the log from its beginning.
    ///
    /// `database` is the connection of the writer, which calls this between two transactions.
    pub(crate) fn finish_copy(&self, database: &Connection) {
        let is_asked = &self.requests.last_pages;
        if is_asked.load(Ordering::Relaxed)
            && is_asked.swap(false, Ordering::Relaxed)
            && let Err(error) = checkpoint_log(database, "PASSIVE")
        {
            tracing::debug!(error = %ErrorChain(&error), "the checkpoint of a writer failed");
        }
    }
}
