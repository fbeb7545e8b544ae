//! Reads which names in the directories of tenants have changed, so that nothing else is looked at.
//!
//! The kernel reports changes of a directory by inotify, if they go through the directory on this
//! machine. A file that is a link, has two names or is a mount point is therefore checked by the
//! deliveries, and so are all files on other kinds of file systems, such as NFS. All files are
//! checked while the watching thread is late. A mount over a file and a second name in another
//! directory are not reported themselves. The next check of a delivery notices them.

use std::collections::BTreeSet;
use std::mem::{self, MaybeUninit};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FsWord, Timespec};
use rustix::io::Errno;

use super::directory::{DirectoryIdentity, TenantDirectory};
use super::tenant::millis;

/// How often the thread looks whether the directories are still the same.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);
/// The shortest time from one change to the next look, unless a delivery waits.
const MIN_PAUSE: Duration = Duration::from_millis(20);
/// How long the result of a look counts.
const TRUST: Duration = Duration::from_millis(1000);
/// The number of bytes of events that are read at once.
const EVENT_BUFFER: usize = 16 * 1024;
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

/// The state of the watched directories, for deliveries. Times are milliseconds of [`millis`].
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The last moment at which a change may have been missed.
    missed: AtomicU64,
    /// Until when the keys of a tenant are up to date, unless they are revoked.
    trusted_until: AtomicU64,
}

impl Watch {
    /// Returns whether no change was missed since `checked`, up to `now`.
    pub(super) fn is_complete(&self, checked: u64, now: u64) -> bool {
        now < self.trusted_until.load(Ordering::Acquire)
            && checked > self.missed.load(Ordering::Acquire)
    }

    /// Records that all changes before `looked` are known.
    pub(super) fn trust(&self, looked: Instant) {
        let until = millis(looked + TRUST);
        self.trusted_until.store(until, Ordering::Release);
    }

    /// Records that changes before now may have been missed. Deliveries check their files again.
    pub(super) fn distrust(&self) {
        let now = millis(Instant::now());
        self.missed.store(now, Ordering::Release);
        self.trusted_until.store(0, Ordering::Release);
    }
}

/// A name that has changed, with the position of its directory.
pub(super) type ChangedName = (usize, Box<str>);

/// The watched directories of one source.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    watched: Option<Watched>,
    changed: BTreeSet<ChangedName>,
    /// Whether a change was reported without its name.
    is_lost: bool,
    failure: Failure,
}

/// Why the directories cannot be watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Failure {
    #[default]
    None,
    New(Errno),
    /// The error was returned before. A caller gets the next one after a watch has worked.
    Known,
}

#[derive(Debug)]
struct Watched {
    inotify: OwnedFd,
    directories: Vec<DirectoryIdentity>,
    /// The watch of each directory. Equal directories have one watch.
    watches: Vec<i32>,
}

impl Watcher {
    /// Returns the names that have changed in `directories` since the last look. `None` if other
    /// changes are possible: the directories are watched from now on, or they cannot be watched.
    pub(super) fn look<'d>(
        &mut self,
        directories: impl Iterator<Item = &'d TenantDirectory> + Clone,
    ) -> Option<BTreeSet<ChangedName>> {
        let found: Option<Vec<_>> = directories.clone().map(identity).collect();
        // After the identities: a directory that is still the same has reported all its changes.
        self.read_events();
        let is_same = match (&self.watched, &found) {
            (Some(watched), Some(found)) => watched.directories == *found,
            _ => false,
        };
        let (changed, is_lost) = (mem::take(&mut self.changed), mem::take(&mut self.is_lost));
        if is_same && !is_lost {
            return Some(changed);
        }
        self.watched = match found.map(|found| Watched::start(directories, found)) {
            Some(Ok(watched)) => {
                // A directory that was replaced meanwhile says nothing about an earlier failure.
                if watched.is_some() {
                    self.failure = Failure::None;
                }
                watched
            }
            Some(Err(error)) => {
                self.note_failure(error);
                None
            }
            None => None,
        };
        None
    }

    /// Notes why the kernel does not watch the directories.
    pub(super) fn note_failure(&mut self, error: Errno) {
        if self.failure == Failure::None {
            self.failure = Failure::New(error);
        }
    }

    /// Returns why the kernel does not watch the directories, once until it does.
    pub(super) fn new_failure(&mut self) -> Option<Errno> {
        let Failure::New(error) = self.failure else {
            return None;
        };
        self.failure = Failure::Known;
        Some(error)
    }

    /// Reads the events that the kernel holds, because it holds a limited number only.
    pub(super) fn read_events(&mut self) {
        let Some(watched) = &self.watched else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); EVENT_BUFFER];
        let mut events = Reader::new(&watched.inotify, &mut buffer);
        // The mode, the owner or the times of the directory itself.
        let of_directory = ReadFlags::ATTRIB | ReadFlags::ISDIR;
        let no_name = ReadFlags::QUEUE_OVERFLOW
            | ReadFlags::IGNORED
            | ReadFlags::UNMOUNT
            | ReadFlags::DELETE_SELF
            | ReadFlags::MOVE_SELF;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Err(_) => {
                    self.is_lost = true;
                    return;
                }
            };
            let Some(name) = event
                .file_name()
                .filter(|_| !event.events().intersects(no_name))
            else {
                self.is_lost |= event.events() != of_directory;
                continue;
            };
            // A name that is not UTF-8 is no name of a tenant.
            let Ok(name) = name.to_str() else {
                continue;
            };
            let positions = watched.watches.iter().enumerate();
            let positions = positions.filter(|(_, watch)| **watch == event.wd());
            self.changed
                .extend(positions.map(|(position, _)| (position, name.into())));
        }
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watched.is_some()
    }

    /// Waits up to `longest` for the next change, or until `wake` is readable. After `changes`, only
    /// `wake` ends a short pause, because changes without an end must not keep the thread busy.
    pub(super) fn wait(&self, wake: &OwnedFd, longest: Duration, changes: Changes) {
        let mut waiting = vec![PollFd::new(wake, PollFlags::IN)];
        let longest = match (changes, &self.watched) {
            (Changes::Some, _) => longest.min(MIN_PAUSE),
            (Changes::None, None) => longest,
            (Changes::None, Some(watched)) => {
                waiting.push(PollFd::new(&watched.inotify, PollFlags::IN));
                longest
            }
        };
        let longest = Timespec::try_from(longest).ok();
        // An error, such as an interruption, means that the next look is early.
        let _: Result<usize, Errno> = poll(&mut waiting, longest.as_ref());
    }
}

/// Whether a look has found changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    None,
    Some,
}

/// Returns the identity of a directory, if its file system reports changes.
fn identity(directory: &TenantDirectory) -> Option<DirectoryIdentity> {
    let (identity, file_system) = directory.identity().ok()?;
    LOCAL_FILE_SYSTEMS
        .contains(&file_system)
        .then_some(identity)
}

impl Watched {
    /// Watches `directories`. Returns `None` if they are not those of `found` any more.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel, which limits the number of watches.
    fn start<'d>(
        directories: impl Iterator<Item = &'d TenantDirectory> + Clone,
        found: Vec<DirectoryIdentity>,
    ) -> Result<Option<Self>, Errno> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        let changes = WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watches = directories
            .clone()
            .map(|directory| inotify::add_watch(&inotify, directory.path(), changes));
        let watches = match watches.collect() {
            Ok(watches) => watches,
            // A directory was removed or replaced meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error),
        };
        let still: Option<Vec<_>> = directories.map(identity).collect();
        let is_same = still.is_some_and(|still| still == found);
        Ok(is_same.then_some(Self {
            inotify,
            directories: found,
            watches,
        }))
    }
}

#[cfg(test)]
mod tests;
