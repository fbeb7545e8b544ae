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

    fn note_failure(&mut self, error: Errno) {
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
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn look(watcher: &mut Watcher, path: &Path) -> Option<Vec<String>> {
        let directory = TenantDirectory::new(path.to_owned());
        let changed = watcher.look([&directory].into_iter())?;
        let names = changed.into_iter();
        Some(names.map(|(_, name)| name.into_string()).collect())
    }

    /// A change of a directory, and the names that are reported.
    type Change<'c> = (&'c str, &'c dyn Fn(), Option<&'c [&'c str]>);

    #[test]
    fn each_change_in_the_directory_is_reported_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tenants");
        fs::create_dir(&path).unwrap();
        let file = path.join("acme");
        fs::write(&file, "one").unwrap();
        fs::write(path.join("umbrella"), "one").unwrap();
        let mut watcher = Watcher::default();
        // The first look cannot know what has happened before.
        assert_eq!(look(&mut watcher, &path), None);
        let changes: [Change<'_>; 10] = [
            ("nothing", &|| (), Some(&[])),
            (
                "another mode of the directory",
                &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap(),
                Some(&[]),
            ),
            (
                "written in place",
                &|| fs::write(&file, "two").unwrap(),
                Some(&["acme"]),
            ),
            (
                "replaced",
                &|| {
                    fs::write(path.join(".new"), "one").unwrap();
                    fs::rename(path.join(".new"), &file).unwrap();
                },
                Some(&[".new", "acme"]),
            ),
            (
                "touched",
                &|| {
                    let file = fs::File::options().write(true).open(&file).unwrap();
                    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
                        .unwrap();
                },
                Some(&["acme"]),
            ),
            (
                "removed",
                &|| fs::remove_file(&file).unwrap(),
                Some(&["acme"]),
            ),
            (
                "created as a link",
                &|| symlink("umbrella", &file).unwrap(),
                Some(&["acme"]),
            ),
            (
                "moved away",
                &|| {
                    fs::rename(&path, folder.path().join("moved")).unwrap();
                    fs::create_dir(&path).unwrap();
                },
                None,
            ),
            ("nothing in the new directory", &|| (), Some(&[])),
            (
                "created again",
                &|| {
                    fs::remove_dir(&path).unwrap();
                    fs::create_dir(&path).unwrap();
                },
                None,
            ),
        ];
        for (name, change, expected) in changes {
            change();
            let found = look(&mut watcher, &path);
            let found = found.as_ref().map(|names| names.iter().map(String::as_str));
            let found: Option<Vec<&str>> = found.map(Iterator::collect);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn lost_events_are_noticed() {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::default();
        let write = |number: usize| {
            // The kernel holds equal events in a row once only.
            let name = ["acme", "umbrella"][number % 2];
            fs::write(folder.path().join(name), "").unwrap();
        };
        assert_eq!(look(&mut watcher, folder.path()), None);
        (0..limit).for_each(write);
        assert_eq!(look(&mut watcher, folder.path()), None);
        // The control: the names are known if the events are read in between.
        assert_eq!(look(&mut watcher, folder.path()), Some(Vec::new()));
        (0..limit).for_each(|number| {
            write(number);
            watcher.read_events();
        });
        let names = ["acme", "umbrella"].map(str::to_owned);
        assert_eq!(look(&mut watcher, folder.path()), Some(names.to_vec()));
    }

    #[test]
    fn directories_on_other_file_systems_and_missing_ones_are_not_watched() {
        for path in ["/nonexistent/tenants", "/proc"] {
            let mut watcher = Watcher::default();
            for _ in 0..3 {
                assert_eq!(look(&mut watcher, Path::new(path)), None, "{path}");
                assert!(!watcher.is_watching(), "{path}");
            }
        }
    }

    #[test]
    fn a_failure_of_the_kernel_is_returned_once_until_the_directory_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::default();
        for _ in 0..2 {
            for expected in [Some(Errno::NOSPC), None, None] {
                watcher.note_failure(Errno::NOSPC);
                assert_eq!(watcher.new_failure(), expected);
            }
            watcher.watched = None;
            assert_eq!(look(&mut watcher, folder.path()), None);
            assert!(watcher.is_watching());
            assert_eq!(watcher.new_failure(), None);
        }
    }

    #[test]
    fn a_look_counts_for_a_short_time_and_not_for_earlier_checks() {
        let watch = Watch::default();
        let looked = Instant::now();
        let now = millis(looked);
        assert!(!watch.is_complete(now + 1, now));
        watch.trust(looked);
        assert!(watch.is_complete(now + 1, now));
        let later = now + u64::try_from(TRUST.as_millis()).unwrap();
        assert!(!watch.is_complete(now + 1, later));
        watch.distrust();
        watch.trust(Instant::now());
        let distrusted = millis(Instant::now());
        assert!(!watch.is_complete(now, distrusted));
        assert!(watch.is_complete(distrusted + 1, distrusted));
    }
}
