//! The thread that keeps the keys of tenants with files up to date.
//!
//! It alone decides which keys are recorded, so an older secret is never recorded over a newer one.
//! A file that hangs costs it [`MAX_READ`](super::open_reads::MAX_READ) once. A directory that hangs
//! stops this thread only. Lookups give up then, and their deliveries get 503.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::Tenants;
use super::directory_watch::{Changes, INTERVAL, Watcher};
use super::file_reader::read_files;
use super::scan::Requests;
use super::secrets::{Files, Secrets};

/// The pause before a scan that has failed is repeated.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than a scan the pause after it is, if files change without a report. Such scans
/// run for a tenth of the time at most.
const PAUSE_FACTOR: u32 = 9;

/// A list of changed tenants above this length counts as a scan.
const LONG_LIST: usize = 256;

/// Starts the thread, which runs until the tenants are dropped.
///
/// # Errors
///
/// Returns the error of the system if the thread cannot be started.
pub(super) fn spawn(tenants: &Arc<Tenants>) -> io::Result<()> {
    let follower = Follower::new(tenants);
    let wake = tenants.scan.wake();
    let thread = thread::Builder::new().name("hookgate-tenants".to_owned());
    let run = move || follower.run(&wake);
    thread.spawn(run).map(drop)
}

struct Follower {
    tenants: Weak<Tenants>,
    watcher: Watcher,
    /// The tenants whose files can change without a report.
    unreported: BTreeSet<Box<str>>,
    /// Whether all other changes since the last scan were reported.
    is_complete: bool,
    /// The last scan of all files.
    last_scan: Option<LastScan>,
    /// The last scan of the unreported files alone. It does not wait for the pause after a long scan.
    last_unreported: Option<LastScan>,
}

struct LastScan {
    end: Instant,
    took: Duration,
    is_failed: bool,
}

impl Follower {
    fn new(tenants: &Arc<Tenants>) -> Self {
        Self {
            tenants: Arc::downgrade(tenants),
            watcher: Watcher::default(),
            unreported: BTreeSet::new(),
            is_complete: false,
            last_scan: None,
            last_unreported: None,
        }
    }

    fn run(mut self, wake: &OwnedFd) {
        while let Some(tenants) = self.tenants.upgrade() {
            let Secrets::Files(files) = &tenants.secrets else {
                return;
            };
            let (changes, longest) = self.look(&tenants, files);
            self.warn(&tenants);
            drop(tenants);
            self.watcher.wait(wake, longest, changes);
        }
    }

    /// Logs why the directories cannot be watched, once until they are.
    fn warn(&mut self, tenants: &Tenants) {
        if let Some(error) = self.watcher.new_failure() {
            tenants.log_failed_watch(error);
        }
    }

    /// Records all changes, and answers the requests of lookups. Returns whether there were changes,
    /// and the longest pause until the next look.
    fn look(&mut self, tenants: &Arc<Tenants>, files: &Arc<Files>) -> (Changes, Duration) {
        let started = Instant::now();
        let requests = tenants.scan.take();
        let changed = self.watcher.look(files.directories());
        let has_changed = match &changed {
            Some(changed) => !changed.is_empty(),
            None => self.watcher.is_watching(),
        };
        match changed {
            Some(changed) => {
                let names = files.tenants_of(&changed);
                // Tenants that are known do not wait for a long list of others.
                if names.len() > LONG_LIST {
                    tenants.scan.scan_started();
                }
                self.read(tenants, files, names);
                tenants.watch.trust(started);
                tenants.scan.scan_ended(None);
            }
            None => {
                self.is_complete = false;
                tenants.watch.distrust();
            }
        }
        self.read(tenants, files, requests.names.iter().cloned());
        tenants.scan.followed(requests.last);
        let pause = self.scan(tenants, files, &requests);
        let changes = match has_changed {
            true => Changes::Some,
            false => Changes::None,
        };
        (changes, pause.unwrap_or(INTERVAL).min(INTERVAL))
    }

    /// Records the keys of tenants. Returns the time that was lost to files that hang.
    fn read(
        &mut self,
        tenants: &Arc<Tenants>,
        files: &Arc<Files>,
        names: impl IntoIterator<Item = Box<str>>,
    ) -> Duration {
        let names = names.into_iter().collect();
        let read_events = || self.watcher.read_events();
        read_files(tenants, files, names, &mut self.unreported, read_events)
    }

    /// Scans the files if changes may have been missed. Returns the pause until a scan that is due.
    fn scan(
        &mut self,
        tenants: &Arc<Tenants>,
        files: &Arc<Files>,
        requests: &Requests,
    ) -> Option<Duration> {
        let is_gap = !self.is_complete && self.watcher.is_watching();
        if !is_gap && requests.scan <= tenants.scan.scanned() {
            return None;
        }
        if self.is_complete && self.unreported.is_empty() {
            tenants.scan.scan_ended(Some(requests.scan));
            return None;
        }
        let last = match self.is_complete {
            true => &self.last_unreported,
            false => &self.last_scan,
        };
        let pause = last.as_ref().map(|last| {
            let pause = match last {
                LastScan {
                    is_failed: true, ..
                } => RETRY_PAUSE,
                // A gap is closed as soon as possible, because new secrets wait for that.
                _ if is_gap => last.took,
                _ => last.took * PAUSE_FACTOR,
            };
            pause.saturating_sub(last.end.elapsed())
        });
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            return Some(pause);
        }
        let started = Instant::now();
        tenants.scan.scan_started();
        let is_first = tenants.scan.scanned() == 0;
        let is_unreported = self.is_complete;
        let names = match is_unreported {
            true => Ok(self.unreported.iter().cloned().collect()),
            false => tenants.list_tenants(files, &mut self.unreported),
        };
        let scanned = names.map(|names| self.read(tenants, files, names));
        let last = LastScan {
            end: Instant::now(),
            // The next scan skips the files that hang.
            took: started.elapsed() - *scanned.as_ref().unwrap_or(&Duration::ZERO),
            is_failed: scanned.is_err(),
        };
        match is_unreported {
            true => self.last_unreported = Some(last),
            false => self.last_scan = Some(last),
        }
        match scanned {
            Ok(_lost) => {
                // The directories were watched before the scan, or they cannot be.
                self.is_complete = self.watcher.is_watching();
                tenants.scan.scan_ended(Some(requests.scan));
                if is_first {
                    tenants.log_shared_keys();
                }
            }
            Err(error) => {
                tenants.scan.scan_ended(None);
                tenants.log_failed_scan(&error);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::io::Errno;
    use tempfile::NamedTempFile;

    use super::super::tests::Fixture;
    use super::*;

    #[test]
    fn the_log_says_once_which_limit_keeps_directories_from_being_watched() {
        let fixture = Fixture::new();
        let mut follower = Follower::new(&fixture.tenants);
        let log = NamedTempFile::new().expect("the file is created");
        let writer = Arc::new(log.reopen().expect("the file is opened"));
        let subscriber = tracing_subscriber::fmt().with_writer(writer);
        tracing::subscriber::with_default(subscriber.with_ansi(false).finish(), || {
            // The control: nothing has failed.
            follower.warn(&fixture.tenants);
            for _ in 0..2 {
                follower.watcher.note_failure(Errno::NOSPC);
                follower.warn(&fixture.tenants);
            }
        });
        let log = fs::read_to_string(log.path()).expect("the file is readable");
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in [
            "WARN",
            "source=\"partners\"",
            "No space left on device",
            "fs.inotify.max_user_instances",
            "fs.inotify.max_user_watches",
        ] {
            assert!(log.contains(part), "{part} in {log}");
        }
    }

    #[test]
    fn a_rotated_link_does_not_wait_for_the_pause_after_a_long_scan() {
        let fixture = Fixture::new();
        let tenants = &fixture.tenants;
        let Secrets::Files(files) = &tenants.secrets else {
            panic!("the secrets are files");
        };
        let long = || LastScan {
            end: Instant::now(),
            took: Duration::from_secs(600),
            is_failed: false,
        };
        let mut follower = Follower {
            unreported: BTreeSet::from(["acme".into()]),
            is_complete: true,
            last_scan: Some(long()),
            ..Follower::new(tenants)
        };
        let requests = tenants.scan.take();
        assert_eq!(follower.scan(tenants, files, &requests), None);
        assert_eq!(tenants.scan.scanned(), requests.last);
        // The control: a long scan of the links alone is not repeated at once.
        follower.unreported.insert("acme".into());
        follower.last_unreported = Some(long());
        let requests = Requests {
            scan: requests.scan + 1,
            ..requests
        };
        assert!(follower.scan(tenants, files, &requests).is_some());
    }
}
