//! [`QueueClock`]: the time of the queue, which steps of the system clock do not change.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, params};
use rustix::time::{DynamicClockId, clock_gettime_dynamic};

/// Counts milliseconds while the machine is on, by the boot clock of the operating system.
///
/// After a reboot it continues from the last time that the file contains. Every process of the
/// machine reads the same time.
#[derive(Clone, Debug)]
pub(super) struct QueueClock {
    source: ClockSource,
    /// The queue's clock minus the boot clock.
    ahead: i64,
    /// The queue's time at the first use in this boot.
    started: i64,
}

/// One reading of the clocks. A transaction uses one moment throughout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The queue's clock.
    pub(super) now: i64,
    pub(super) system_now: i64,
    /// The queue's time at the first use in this boot.
    pub(super) started: i64,
}

/// The clocks of the operating system. Tests change them.
#[derive(Clone, Debug, Default)]
pub(super) struct ClockSource {
    pub(super) shift: Arc<TestClock>,
}

/// Changes of the clocks in milliseconds, for tests.
#[cfg_attr(
    not(feature = "conformance"),
    expect(unreachable_pub, reason = "only tests change the clocks")
)]
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct TestClock {
    /// Time that passes.
    pub advance: AtomicI64,
    /// A step of the system clock.
    pub step: AtomicI64,
    /// The time at which both clocks stand still, apart from `advance` and `step`.
    stopped_at: Option<(i64, i64)>,
    /// The boot clock at the last reboot, or 0.
    rebooted: AtomicI64,
}

#[cfg(feature = "conformance")]
impl TestClock {
    /// Creates a clock that runs only if the test advances it.
    pub fn stopped() -> Self {
        Self {
            stopped_at: Some((boot_millis(), system_millis())),
            ..Self::default()
        }
    }

    /// Restarts the machine: its boot clock starts from zero, and it has another boot id.
    pub fn reboot(&self) {
        let boot = self.stopped_at.map_or_else(boot_millis, |(boot, _)| boot);
        let now = boot + self.advance.load(Ordering::SeqCst);
        self.rebooted.store(now, Ordering::SeqCst);
    }
}

/// The consequences of a start for the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The machine has restarted, so every lease has ended.
    pub(super) is_new_boot: bool,
    /// No process has used the file for so long that records of the replay store may have
    /// expired.
    pub(super) was_away_long: bool,
}

/// The time without a process after which claims must be confirmed anew.
const LONG_AWAY: i64 = 24 * 3_600_000;

/// The longest time that reboots add to the age of an entry.
const MAX_OFF: i64 = 24 * 3_600_000;

impl QueueClock {
    /// Reads the clock of the file, within a transaction, and continues it after a reboot.
    pub(super) fn open(
        database: &Connection,
        source: ClockSource,
    ) -> rusqlite::Result<(Self, Start)> {
        let (boot_now, boot) = (source.boot_millis(), source.boot_id());
        let stored = database
            .query_row(
                // The last entry can be newer than the last record.
                "SELECT boot, ahead, started, seen_at,
                   max(seen, ifnull((SELECT since FROM entries ORDER BY id DESC LIMIT 1), 0))
                 FROM clock",
                [],
                |row| {
                    let numbers: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                    Ok((row.get::<_, String>(0)?, numbers))
                },
            )
            .optional()?;
        let is_new_file = stored.is_none();
        let (stored_boot, [ahead, started, seen_at, seen]) = stored.unwrap_or_default();
        let was_away_long =
            !is_new_file && source.system_millis().saturating_sub(seen_at) > LONG_AWAY;
        // Without boot ids, a reboot shows in a boot clock that is behind.
        let is_behind = boot_now.saturating_add(ahead) < seen;
        let is_new_boot = is_new_file || stored_boot != boot || is_behind;
        let (ahead, started) = match is_new_boot {
            true => (seen.saturating_sub(boot_now), seen),
            false => (ahead, started),
        };
        let clock = Self {
            source,
            ahead,
            started,
        };
        database.execute(
            "INSERT OR REPLACE INTO clock VALUES (0, ?1, ?2, ?3, ?4, ?5)",
            params![
                boot,
                ahead,
                started,
                clock.now(),
                clock.source.system_millis()
            ],
        )?;
        let start = Start {
            is_new_boot,
            was_away_long,
        };
        Ok((clock, start))
    }

    /// Records the current time, so that a reboot continues from it.
    pub(super) fn record(database: &Connection, moment: Moment) -> rusqlite::Result<()> {
        database
            .prepare_cached("UPDATE clock SET seen = ?1, seen_at = ?2")?
            .execute([moment.now, moment.system_now])?;
        Ok(())
    }

    fn now(&self) -> i64 {
        self.source.boot_millis().saturating_add(self.ahead)
    }

    /// Reads the clocks.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            system_now: self.source.system_millis(),
            started: self.started,
        }
    }
}

impl Moment {
    /// Returns the age of an entry by its columns `since` and `since_at`.
    ///
    /// The queue's clock does not count the time before a reboot for which the machine was off.
    /// The system clock does, but it may be wrong around a reboot, so it adds no more than a day.
    pub(super) fn age(&self, since: i64, since_at: i64) -> Duration {
        let counted = self.now.saturating_sub(since);
        let age = match since >= self.started {
            true => counted,
            false => {
                let by_system_clock = self.system_now.saturating_sub(since_at);
                counted.max(by_system_clock.min(counted.saturating_add(MAX_OFF)))
            }
        };
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }
}

impl ClockSource {
    fn boot_millis(&self) -> i64 {
        let shift = &self.shift;
        let now = shift.stopped_at.map_or_else(boot_millis, |(boot, _)| boot);
        now + shift.advance.load(Ordering::SeqCst) - shift.rebooted.load(Ordering::SeqCst)
    }

    fn system_millis(&self) -> i64 {
        let shift = &self.shift;
        let now = shift
            .stopped_at
            .map_or_else(system_millis, |(_, system)| system);
        now + shift.advance.load(Ordering::SeqCst) + shift.step.load(Ordering::SeqCst)
    }

    /// Returns the number that the kernel draws at each boot. Empty if the system has none.
    fn boot_id(&self) -> String {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        match self.shift.rebooted.load(Ordering::SeqCst) {
            0 => id.trim().to_owned(),
            rebooted => format!("{} {rebooted}", id.trim()),
        }
    }
}

/// Returns the time since the boot of the machine, which includes times of suspension.
fn boot_millis() -> i64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let time = clock_gettime_dynamic(DynamicClockId::Boottime);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let time = clock_gettime_dynamic(DynamicClockId::Known(rustix::time::ClockId::Monotonic));
    // Every kernel since Linux 2.6.39 has the clock.
    time.map_or(0, |time| time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the file outlives the process, so its times must come from the system clock"
)]
fn system_millis() -> i64 {
    millis_since_epoch(SystemTime::now())
}

/// Returns whole milliseconds since the Unix epoch.
pub(super) fn millis_since_epoch(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Returns the time that is `millis` after the Unix epoch.
pub(super) fn system_time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Returns whole milliseconds, rounded up so that nothing is due early.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX / 4)
}
