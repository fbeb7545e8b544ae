//! Tests of the time that the writer records, with clocks that are set.

use std::sync::atomic::AtomicI64;

use hookgate_sqlite::{Database, Durability};

use super::*;

const HALF_HOUR: i64 = 1_800_000;

/// A file, and the clocks of the processes that open it.
struct Machine {
    folder: tempfile::TempDir,
    shift: Arc<AtomicU64>,
    wall_error: Arc<AtomicI64>,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            shift: Arc::default(),
            wall_error: Arc::default(),
        }
    }

    fn open(&self) -> Writer {
        let folder = self.folder.path();
        let database = Database::open(folder, &FORMAT, Durability::Process, 0).unwrap();
        let config = WriterConfig {
            max_entries: 100,
            clock: Clock::with_wall_error(Arc::clone(&self.shift), Arc::clone(&self.wall_error)),
            notifier: Arc::new(SettlementNotifier::new()),
            entry_count: Arc::default(),
            commits: Arc::default(),
            reserve: database.reserve,
        };
        Writer::new(database.writer, folder.to_owned(), config).unwrap()
    }

    /// Lets half an hour pass, after which the system clock is set back to its start.
    fn set_back_after_half_an_hour(&self) {
        self.shift.store(HALF_HOUR.unsigned_abs(), Ordering::SeqCst);
        self.wall_error.store(-HALF_HOUR, Ordering::SeqCst);
    }

    /// Returns by how much the next process that opens the file is behind `writer`.
    fn behind(&self, writer: &Writer) -> i64 {
        let before = writer.config.clock.now();
        before - self.open().config.clock.now()
    }
}

#[test]
fn processes_count_the_same_time_after_the_system_clock_was_set_back() {
    let machine = Machine::new();
    let mut idle = machine.open();
    machine.set_back_after_half_an_hour();
    // The control: the last record shows only the time that the system clock confirms.
    let behind = machine.behind(&idle);
    assert!(behind > HALF_HOUR / 2, "{behind}");

    idle.tick();
    let behind = machine.behind(&idle);
    assert!(behind <= 0, "{behind}");
}

#[test]
fn an_idle_store_repeats_the_record_of_a_clock_step_that_could_not_be_written() {
    let machine = Machine::new();
    let mut idle = machine.open();
    let refuse_writes = |writer: &Writer, refuses: bool| {
        let set = writer.database.pragma_update(None, "query_only", refuses);
        set.unwrap();
    };
    machine.set_back_after_half_an_hour();
    refuse_writes(&idle, true);
    idle.tick();
    // The control: without the record, the next process is behind.
    let behind = machine.behind(&idle);
    assert!(behind > HALF_HOUR / 2, "{behind}");

    refuse_writes(&idle, false);
    idle.tick();
    let behind = machine.behind(&idle);
    assert!(behind <= 0, "{behind}");
}
