//! [`Clock`]: the time of the disk store, which must survive a restart of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A difference between two clocks that is not worth a line in the log, in milliseconds. NTP slews
/// the system clock by up to 500 ppm, which is 1.8 s in an hour.
const TOLERANCE: i64 = 10_000;

/// Counts milliseconds since the Unix epoch, as the file does.
///
/// The time of a new file is the system time. After that it counts elapsed time only: a system
/// clock that is set, or that is wrong when the file is opened, does not make the store forget an
/// event early.
#[derive(Clone)]
pub(super) struct Clock {
    /// The difference to the clock of the machine.
    offset: i64,
    /// Milliseconds to add to both clocks. Only tests set it.
    shift: Arc<AtomicU64>,
    /// The error of the system clock in milliseconds. Only tests set it.
    wall_error: Arc<AtomicI64>,
}

/// The readings of three clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The time of the file.
    pub(super) time: i64,
    /// The system clock.
    pub(super) wall: i64,
    /// The clock that counts from the start of the machine and is never set.
    pub(super) boot: i64,
}

impl Clock {
    pub(super) fn system() -> Self {
        Self::shifted(Arc::default())
    }

    /// Creates a clock that is ahead by `shift` milliseconds.
    pub(super) fn shifted(shift: Arc<AtomicU64>) -> Self {
        Self::with_wall_error(shift, Arc::default())
    }

    pub(super) fn with_wall_error(shift: Arc<AtomicU64>, wall_error: Arc<AtomicI64>) -> Self {
        let wall = system_millis().saturating_add(wall_error.load(Ordering::SeqCst));
        Self {
            offset: wall.saturating_sub(boot_millis()),
            shift,
            wall_error,
        }
    }

    /// Returns a clock that continues the time of a file. `last` is the latest reading in the
    /// file.
    pub(super) fn continue_from(self, last: Reading) -> Self {
        let now = self.read();
        let wall = now.wall.saturating_sub(last.wall);
        let elapsed = elapsed(wall, now.boot.saturating_sub(last.boot));
        if wall.saturating_sub(elapsed).abs() > TOLERANCE {
            tracing::info!(
                system_clock_seconds = wall / 1000,
                counted_seconds = elapsed / 1000,
                "the system clock moved by another time than the replay store can confirm since its \
                 last use; the store counts its own time and forgets no event early"
            );
        }
        let behind = now.time - last.time.saturating_add(elapsed);
        Self {
            offset: self.offset.saturating_sub(behind),
            ..self
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.read().time
    }

    pub(super) fn read(&self) -> Reading {
        let shift = i64::try_from(self.shift.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
        let wall_error = self.wall_error.load(Ordering::SeqCst);
        let boot = boot_millis().saturating_add(shift);
        Reading {
            time: boot.saturating_add(self.offset),
            wall: system_millis()
                .saturating_add(shift)
                .saturating_add(wall_error),
            boot,
        }
    }

    /// Creates a clock whose system clock is wrong by `seconds`.
    #[cfg(test)]
    pub(super) fn with_wrong_system_clock(seconds: i64) -> Self {
        Self::with_wall_error(Arc::default(), Arc::new(AtomicI64::new(seconds * 1000)))
    }
}

/// Returns the time that has certainly passed while the system clock moved by `wall` and the clock
/// of the machine by `boot`.
///
/// The clock of the machine is exact until the machine restarts, or the file moves to another
/// machine. A system clock that is ahead shows too much. The result is the time that both clocks
/// confirm, so an event is at worst remembered for longer.
fn elapsed(wall: i64, boot: i64) -> i64 {
    match boot <= wall.saturating_add(TOLERANCE) {
        true => boot.max(0),
        false => wall.max(0),
    }
}

/// Notices that the system clock was set while the store is open.
#[derive(Debug)]
pub(super) struct SystemClockWatch {
    /// The difference between the system clock and the clock of the machine.
    difference: i64,
}

impl SystemClockWatch {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            difference: difference(clock),
        }
    }

    /// Logs that the system clock was set. Returns by how many milliseconds.
    pub(super) fn check(&mut self, clock: &Clock) -> Option<i64> {
        let difference = difference(clock);
        let step = difference.saturating_sub(self.difference);
        if step.abs() <= TOLERANCE {
            return None;
        }
        self.difference = difference;
        tracing::warn!(
            seconds = step / 1000,
            "the system clock was set; the replay store counts its own time and forgets no event \
             early"
        );
        Some(step)
    }
}

fn difference(clock: &Clock) -> i64 {
    let Reading { wall, boot, .. } = clock.read();
    wall.saturating_sub(boot)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the file outlives the process, so its times must come from the system clock"
)]
fn system_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, millis)
}

/// Returns the milliseconds since the start of the machine. All of its processes read the same
/// clock.
fn boot_millis() -> i64 {
    // This clock also counts while the machine is suspended.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let Timespec { tv_sec, tv_nsec } = clock_gettime(CLOCK);
    tv_sec * 1000 + tv_nsec / 1_000_000
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Returns whole milliseconds, rounded up so that no event is forgotten early.
pub(super) fn millis(duration: Duration) -> i64 {
    let nanos = duration.as_nanos();
    i64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_that_both_clocks_confirm_counts() {
        for (case, wall, boot, expected) in [
            ("both clocks agree", 60_000, 60_000, 60_000),
            ("NTP slews the system clock", 58_000, 60_000, 60_000),
            ("the system clock is ahead", 760_000, 60_000, 60_000),
            ("the system clock was set back", -600_000, 60_000, 0),
            ("the machine restarted", 60_000, -900_000, 0),
            (
                "the machine restarted, and its clock is ahead",
                90_000_000,
                5_000,
                5_000,
            ),
            (
                "another machine that runs for long",
                60_000,
                90_000_000,
                60_000,
            ),
        ] {
            assert_eq!(elapsed(wall, boot), expected, "{case}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the system clock is compared")]
    fn a_new_clock_starts_at_the_system_time_and_counts_elapsed_time() {
        let clock = Clock::system();
        let before = clock.read();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let wall = millis(wall.unwrap());
        assert!((wall - before.wall).abs() < 60_000, "{before:?}");
        assert!((before.time - before.wall).abs() < 60_000, "{before:?}");
        std::thread::sleep(Duration::from_millis(20));
        let after = clock.read();
        let passed = [after.time - before.time, after.boot - before.boot];
        assert!(passed.iter().all(|passed| *passed >= 19), "{passed:?}");
        // The machine runs for longer than this test.
        assert!(before.boot > 0 && before.boot != before.wall, "{before:?}");
    }

    #[test]
    fn a_step_of_the_system_clock_is_noticed_once() {
        let clock = Clock::system();
        let mut watch = SystemClockWatch::new(&clock);
        assert_eq!(watch.check(&clock), None);
        let ahead = Clock::with_wrong_system_clock(700);
        let step = watch.check(&ahead).unwrap();
        assert!((690_000..710_000).contains(&step), "{step}");
        assert_eq!(watch.check(&ahead), None);
    }
}
