use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicI64;

use bytes::Bytes;
use hookgate_diagnose::CaptureFile;
use http::Request;
use tempfile::TempDir;

use super::*;
use crate::inspector::capture::Tools;
use crate::inspector::capture::tests::{raw, source};
use crate::inspector::record::DeliveryRecord;

/// A clock that the test sets.
#[derive(Clone, Debug, Default)]
struct TestClock(Arc<AtomicI64>);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::Relaxed))
    }
}

struct Folder {
    temporary: TempDir,
    opened: CaptureFiles,
    files: Files,
    clock: TestClock,
    captures: usize,
}

impl Folder {
    fn new(max_bytes: usize) -> Self {
        Self::reopen(TempDir::new().unwrap(), max_bytes)
    }

    fn reopen(temporary: TempDir, max_bytes: usize) -> Self {
        let opened = CaptureFiles::open(&temporary.path().join("deep/captures")).unwrap();
        let config = ArcSwap::from_pointee(CaptureConfig {
            keep_for: Duration::from_secs(3600),
            max_bytes,
            redact: Vec::new(),
        });
        let clock = TestClock::default();
        let files = Files {
            dir: opened.dir.clone(),
            errors: Arc::clone(&opened.errors),
            config: Arc::new(config),
            clock: Arc::new(clock.clone()),
            order: FairQueue::new(0),
            hasher: RandomState::new(),
            warnings: LogThrottle::default(),
        };
        Self {
            temporary,
            opened,
            files,
            clock,
            captures: 0,
        }
    }

    /// Returns a capture that arrived at `arrived` seconds.
    fn capture(&mut self, body: &'static str, arrived: i64) -> Captured {
        let request = Request::post("/in?a=1")
            .header("authorization", "Bearer canary-token")
            .body(Bytes::from_static(body.as_bytes()));
        self.captures += 1;
        let mut record = DeliveryRecord {
            request_id: format!("id{}", self.captures),
            reason: Some("signature_mismatch".into()),
            ..DeliveryRecord::default()
        };
        record.time.0 = UnixTime::from_secs(arrived);
        let tools = Tools {
            explainer: None,
            files: Some(&self.opened),
        };
        let config = self.files.config.load();
        Captured::new(
            raw(source("github"), request.unwrap()),
            &mut record,
            &config,
            tools,
        )
    }

    fn write(&mut self, class: Class, arrived: i64) -> PathBuf {
        let captured = self.capture("the body", arrived);
        self.files.write(class, &captured);
        captured.folder.unwrap()
    }

    fn names(&self) -> usize {
        fs::read_dir(&self.opened.dir).unwrap().count()
    }
}

#[test]
fn a_capture_on_disk_is_redacted_private_and_readable() {
    let mut folder = Folder::new(1 << 20);
    let path = folder.write(Class::Verified, 1000);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.opened.dir), 0o700);
    assert_eq!(mode(&path), 0o700);
    for name in ["head", "body", "meta.json"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        let text = fs::read_to_string(path.join(name)).unwrap();
        assert!(!text.contains("canary"), "{name}: {text}");
    }
    let read = CaptureFile::open(&path, None).unwrap();
    assert_eq!(read.capture.body, "the body");
    assert_eq!(read.capture.arrived, Some(UnixTime::from_secs(1000)));
    let record = read.record.unwrap();
    assert_eq!(record.reason.as_deref(), Some("signature_mismatch"));
    assert!(record.redacted && !record.partial);
}

#[test]
fn a_flood_on_disk_keeps_genuine_captures_and_the_limit() {
    let mut folder = Folder::new(20 * 17_000);
    let genuine = folder.write(Class::Verified, 1000);
    let refused = folder.write(Class::Unverified(1), 1001);
    let flood: Vec<_> = (0..100)
        .map(|arrived| folder.write(Class::Unverified(2), 1002 + arrived))
        .collect();
    assert!(genuine.exists() && refused.exists());
    assert!(folder.names() <= 20, "{}", folder.names());
    // The control: the oldest captures of the flood have gone.
    assert!(!flood[0].exists() && flood[99].exists());
}

#[test]
fn captures_of_an_earlier_process_count_and_expire_and_foreign_files_stay() {
    let mut earlier = Folder::new(1 << 20);
    let old = earlier.write(Class::Verified, 1000);
    let new = earlier.write(Class::Unverified(1), 4000);
    let dir = earlier.opened.dir.clone();
    let foreign = dir.join("notes.txt");
    fs::write(&foreign, "keep").unwrap();
    let foreign_dir = dir.join("backup");
    fs::create_dir(&foreign_dir).unwrap();
    let outside = earlier.temporary.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("body"), "keep").unwrap();
    let link = dir.join("19700101T001640.000Z-link");
    symlink(&outside, &link).unwrap();
    fs::write(new.join("note"), "keep").unwrap();

    let mut folder = Folder::reopen(earlier.temporary, 1 << 20);
    folder.files.add_unknown();
    assert_eq!(folder.files.order.weight() / 16_384, 2);
    folder.clock.0.store(4600, Ordering::Relaxed);
    folder.files.expire();
    assert!(!old.exists() && new.exists());
    folder.clock.0.store(100_000, Ordering::Relaxed);
    folder.files.expire();
    // A file of another program keeps its folder.
    assert!(!new.join("body").exists() && new.join("note").exists());
    assert!(foreign.exists() && foreign_dir.exists() && link.is_symlink());
    assert!(outside.join("body").exists());
    assert_eq!(folder.opened.errors(), 0);
}

#[test]
fn captures_that_another_process_writes_later_count_and_expire_once() {
    let mut old = Folder::new(1 << 20);
    let known = old.write(Class::Verified, 1000);
    let mut new = Folder::reopen(TempDir::new().unwrap(), 1 << 20);
    new.files.dir.clone_from(&old.opened.dir);
    new.files.add_unknown();
    let late = old.write(Class::Unverified(1), 2000);
    new.clock.0.store(2000 + 3600, Ordering::Relaxed);
    new.files.expire();
    // The control: without another scan, the late capture stays.
    assert!(!known.exists() && late.exists());
    new.files.add_unknown();
    let weight = new.files.order.weight();
    assert!(weight > 0);
    new.files.add_unknown();
    assert_eq!(new.files.order.weight(), weight);
    new.files.expire();
    assert!(!late.exists());
    assert_eq!(new.opened.errors(), 0);
}

#[test]
fn a_capture_that_cannot_be_written_is_counted_and_leaves_nothing() {
    let mut folder = Folder::new(1 << 20);
    let blocked = folder.capture("the body", 1000);
    let path = blocked.folder.clone().unwrap();
    fs::write(&path, "in the way").unwrap();
    folder.files.write(Class::Verified, &blocked);
    assert_eq!(folder.opened.errors(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), "in the way");
    // The folder of all captures is created anew, and the next capture is written.
    fs::remove_dir_all(&folder.opened.dir).unwrap();
    let path = folder.write(Class::Verified, 1000);
    assert!(path.join("meta.json").exists());
    assert_eq!(folder.opened.errors(), 1);
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error_that_names_it() {
    let temporary = TempDir::new().unwrap();
    let file = temporary.path().join("file");
    fs::write(&file, "").unwrap();
    let error = CaptureFiles::open(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write to the folder {}", file.display())
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_folder_that_other_users_may_open_is_noticed() {
    let dir = TempDir::new().unwrap();
    for (mode, is_open) in [(0o700, false), (0o750, true), (0o701, true), (0o702, true)] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_open_to_others(dir.path()).unwrap(), is_open, "{mode:o}");
    }
}
