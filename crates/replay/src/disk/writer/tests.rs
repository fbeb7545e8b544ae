//! Tests of the writer without its thread: the time that it records, its counts and its notices.

use std::pin::pin;
use std::sync::atomic::AtomicI64;
use std::task::{Context, Waker};

use hookgate_sqlite::{Database, Durability};

use super::*;
use crate::conformance::CLAIM_OPTIONS;
use crate::store::SourceQuota;

const HALF_HOUR: i64 = 1_800_000;
const TEN_DAYS: u64 = 864_000_000;

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
            // No batch is near the limit, so none causes a sweep.
            max_entries: 10_000,
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

/// Claims a key for a source without a limit.
fn claim(writer: &mut Writer, key: u8, source: u64) -> Lease {
    let (reply, mut replied) = oneshot::channel();
    writer.write_batch(&mut vec![Command::Claim {
        key: ReplayKey::from_bytes([key; 16]),
        options: CLAIM_OPTIONS.with_quota(SourceQuota::new(source, u64::MAX)),
        reply,
    }]);
    match replied.try_recv() {
        Ok(Ok(Claim::Granted(lease))) => lease,
        other => panic!("{other:?}"),
    }
}

fn release(writer: &mut Writer, lease: Lease) {
    let (reply, _) = oneshot::channel();
    writer.write_batch(&mut vec![Command::Settle {
        lease,
        retention: None,
        reply,
    }]);
}

/// Returns the counted entries in total, and of the sources 1 and 2.
fn counts(writer: &Writer) -> [u64; 3] {
    let counts = &writer.state.counts;
    let of_source = |source| {
        let allows =
            |max: &u64| counts.allow_another(u64::MAX, Some(SourceQuota::new(source, *max)));
        (1..100).find(allows).unwrap() - 1
    };
    [counts.total, of_source(1), of_source(2)]
}

/// No complete sweep counts the entries again here.
#[test]
fn the_entries_of_each_source_are_counted() {
    let machine = Machine::new();
    let mut writer = machine.open();
    claim(&mut writer, 1, 1);
    let second = claim(&mut writer, 2, 1);
    claim(&mut writer, 3, 2);
    assert_eq!(counts(&writer), [3, 2, 1]);
    release(&mut writer, second);
    assert_eq!(counts(&writer), [2, 1, 1]);
    // The entries expire. A claim takes over the row of the first one.
    machine.shift.store(TEN_DAYS, Ordering::SeqCst);
    claim(&mut writer, 1, 2);
    assert_eq!(counts(&writer), [2, 0, 2]);
    // The rows of a sweep are fewer than those of the table.
    writer.sweep(1);
    assert_eq!(counts(&writer), [2, 0, 2]);
    writer.sweep(1);
    assert_eq!(counts(&writer), [1, 0, 1]);
}

/// A process that is killed leaves only the records of its batches.
#[test]
fn the_file_learns_the_time_of_a_batch_once_a_second() {
    let machine = Machine::new();
    let mut writer = machine.open();
    let recorded = |writer: &Writer| {
        let time = "SELECT time FROM clock";
        let time = writer
            .database
            .query_row(time, [], |row| row.get::<_, i64>(0));
        time.unwrap()
    };
    claim(&mut writer, 1, 1);
    let first = recorded(&writer);
    machine.shift.store(5_000, Ordering::SeqCst);
    claim(&mut writer, 2, 1);
    assert!(recorded(&writer) >= first + 5_000);
}

#[test]
fn a_settlement_notifies_the_waiters_of_its_key() {
    let machine = Machine::new();
    let mut writer = machine.open();
    let lease = claim(&mut writer, 1, 1);
    let notifier = Arc::clone(&writer.config.notifier);
    let mut waiter = pin!(notifier.notified(lease.key()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiter.as_mut().poll(&mut context).is_pending(), "control");
    release(&mut writer, lease);
    assert!(waiter.as_mut().poll(&mut context).is_ready());
}
