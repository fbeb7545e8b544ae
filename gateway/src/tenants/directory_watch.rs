//! Notices that the directories of tenants have not changed, so that deliveries need no look at
//! their files.
//!
//! The kernel reports changes of a directory by inotify, if they go through the directory on this
//! machine. Deliveries therefore check a file that is a link, has two names or is a mount point.
//! They also check all files on other kinds of file systems, such as NFS, and all files while the
//! watching thread is late.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{FsWord, Timespec};
use rustix::io::{Errno, read};

use super::CHECK_INTERVAL;
use super::directory::{DirectoryIdentity, TenantDirectory};
use super::state::millis;

/// How often the thread looks whether the directories are still the same.
const INTERVAL: Duration = Duration::from_millis(500);
const MIN_PAUSE: Duration = Duration::from_millis(20);
/// How long the result of a look counts. A changed file counts within the sum of this time and the
/// interval in which deliveries check.
const TRUST: Duration = Duration::from_millis(1000);
/// File systems that report each change by inotify: btrfs, ext4, F2FS, overlay, tmpfs, XFS, ZFS.
const LOCAL_FILE_SYSTEMS: [FsWord; 7] = [
    0x9123_683e,
    0xef53,
    0xf2f5_2010,
    0x794c_7630,
    0x0102_1994,
    0x5846_5342,
    0x2fc1_2fc1,
];

/// The result of the last look. Times are milliseconds of [`millis`].
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The last moment at which a check may have missed a change.
    changed: AtomicU64,
    /// Until when the absence of changes counts.
    trusted_until: AtomicU64,
}

impl Watch {
    /// Returns whether nothing has changed since `checked`, up to `now`.
    pub(super) fn is_unchanged(&self, checked: u64, now: u64) -> bool {
        now < self.trusted_until.load(Ordering::Acquire)
            && checked > self.changed.load(Ordering::Acquire)
    }
}

/// The watched directories of one source.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    inotify: OwnedFd,
    directories: Vec<DirectoryIdentity>,
}

impl Watcher {
    /// Looks for changes of `directories`, and records the result.
    pub(super) fn look<'d>(
        &mut self,
        directories: impl Iterator<Item = &'d TenantDirectory> + Clone,
        watch: &Watch,
    ) {
        let started = Instant::now();
        let found: Option<Vec<_>> = directories.clone().map(identity).collect();
        let is_unchanged = match (&self.watched, &found) {
            (Some(watched), Some(found)) => watched.directories == *found && watched.is_quiet(),
            _ => false,
        };
        if !is_unchanged {
            // The directory of an event may be gone, so all are watched anew.
            self.watched = found.and_then(|found| Watched::start(directories, found));
            // Deliveries check their files once again. Until the interval ends, a check may go
            // through a directory that was opened before the change.
            let changed = millis(Instant::now() + CHECK_INTERVAL);
            watch.changed.store(changed, Ordering::Release);
        }
        let until = self.watched.as_ref().map(|_| millis(started + TRUST));
        let until = until.unwrap_or_default();
        watch.trusted_until.store(until, Ordering::Release);
    }

    /// Waits for the next look.
    pub(super) fn wait(&self) {
        let Some(watched) = &self.watched else {
            thread::sleep(INTERVAL);
            return;
        };
        // Changes without a pause must not keep the thread busy.
        thread::sleep(MIN_PAUSE);
        let mut waiting = [PollFd::new(&watched.inotify, PollFlags::IN)];
        let interval = Timespec::try_from(INTERVAL).ok();
        // An error, such as an interruption, means that the next look is early.
        let _: Result<usize, Errno> = poll(&mut waiting, interval.as_ref());
    }
}

/// Returns the identity of a directory, if its file system reports changes.
fn identity(directory: &TenantDirectory) -> Option<DirectoryIdentity> {
    let (identity, file_system) = directory.identity().ok()?;
    LOCAL_FILE_SYSTEMS
        .contains(&file_system)
        .then_some(identity)
}

impl Watched {
    /// Watches `directories`, if they still are those of `found`.
    fn start<'d>(
        directories: impl Iterator<Item = &'d TenantDirectory> + Clone,
        found: Vec<DirectoryIdentity>,
    ) -> Option<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let started = inotify::init(flags).and_then(|inotify| {
            let changes = WatchFlags::ATTRIB
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MODIFY
                | WatchFlags::MOVE
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            for directory in directories.clone() {
                inotify::add_watch(&inotify, directory.path(), changes)?;
            }
            Ok(inotify)
        });
        match started {
            Ok(inotify) => {
                let still: Option<Vec<_>> = directories.map(identity).collect();
                let is_same = still.is_some_and(|still| still == found);
                is_same.then_some(Self {
                    inotify,
                    directories: found,
                })
            }
            Err(error) => {
                tracing::debug!(%error, "the directory of tenants cannot be watched");
                None
            }
        }
    }

    /// Returns whether there is no event. The events are not read further: the deliveries check
    /// their own files.
    fn is_quiet(&self) -> bool {
        let mut event = [0; 4096];
        matches!(
            read(self.inotify.as_fd(), &mut event[..]),
            Err(Errno::AGAIN)
        )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Looks once. Returns whether a check right before that still counts.
    fn look(watcher: &mut Watcher, watch: &Watch, path: &Path) -> bool {
        let checked = millis(Instant::now());
        let directory = TenantDirectory::new(path.to_owned());
        watcher.look([&directory].into_iter(), watch);
        // A change in the millisecond of the check counts as a later one.
        watch.is_unchanged(checked.max(1), checked)
    }

    #[test]
    fn each_change_in_the_directory_ends_the_trust() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenants");
        fs::create_dir(&path).unwrap();
        let file = path.join("acme");
        fs::write(&file, "one").unwrap();
        let (mut watcher, watch) = (Watcher::default(), Watch::default());
        let mut looks = || look(&mut watcher, &watch, &path);
        // The first look cannot know what has happened before.
        assert!(!looks());
        let changes: [(&str, &dyn Fn()); 7] = [
            ("written in place", &|| fs::write(&file, "two").unwrap()),
            ("replaced", &|| {
                fs::write(path.join(".new"), "one").unwrap();
                fs::rename(path.join(".new"), &file).unwrap();
            }),
            ("touched", &|| {
                let file = fs::File::options().write(true).open(&file).unwrap();
                file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                    .unwrap();
            }),
            ("removed", &|| fs::remove_file(&file).unwrap()),
            ("created", &|| fs::write(&file, "one").unwrap()),
            ("moved away", &|| {
                fs::rename(&path, folder.path().join("moved")).unwrap();
                fs::create_dir(&path).unwrap();
            }),
            ("created again", &|| {
                fs::remove_dir(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }),
        ];
        for (name, change) in changes {
            // The control: the directory is trusted while nothing changes.
            while !looks() {
                thread::sleep(Duration::from_millis(1));
            }
            change();
            assert!(!looks(), "{name}");
        }
    }

    #[test]
    fn a_check_through_a_directory_that_was_opened_before_the_change_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let directory = TenantDirectory::new(folder.path().to_owned());
        let (mut watcher, watch) = (Watcher::default(), Watch::default());
        let started = millis(Instant::now());
        watcher.look([&directory].into_iter(), &watch);
        let interval = u64::try_from(CHECK_INTERVAL.as_millis()).unwrap();
        let is_counted = |checked| watch.is_unchanged(checked, started);
        assert!(!is_counted(started + interval - 1));
        // The control: each later directory was opened after the change.
        let ended = millis(Instant::now());
        assert!(is_counted(ended + interval + 1));
    }

    #[test]
    fn a_look_counts_for_a_short_time_and_on_local_file_systems_only() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watcher, watch) = (Watcher::default(), Watch::default());
        while !look(&mut watcher, &watch, folder.path()) {
            thread::sleep(Duration::from_millis(1));
        }
        let now = millis(Instant::now());
        let later = now + u64::try_from(TRUST.as_millis()).unwrap();
        assert!(!watch.is_unchanged(now, later));
        // The trust ends at once with the directory, and never begins in another one.
        for path in ["/nonexistent/tenants", "/proc"] {
            for _ in 0..3 {
                assert!(!look(&mut watcher, &watch, Path::new(path)), "{path}");
            }
        }
    }
}
