//! Changes of real directories.

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
