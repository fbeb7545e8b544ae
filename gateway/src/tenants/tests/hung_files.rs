//! Files that hang when they are read.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::secrets::{Files, MAX_READS, TenantError};
use super::{ACME, Fixture, Lookup, OTHER, UMBRELLA};

/// The time after which a changed file counts.
const MAX_DELAY: Duration = Duration::from_secs(2);

impl Fixture {
    /// Makes the file of a tenant a pipe, and returns its second name.
    fn set_pipe(&self, name: &str) -> std::path::PathBuf {
        let pipe = self.folder.path().join(".pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &pipe, FileType::Fifo, mode, 0).expect("the pipe is made");
        let link = self.folder.path().join(".link");
        fs::hard_link(&pipe, &link).expect("the pipe has a second name");
        fs::rename(link, self.folder.path().join(name)).expect("the file is replaced");
        pipe
    }

    async fn assert_unavailable(&self, name: &str) {
        self.tenants.missing.invalidate(name);
        let found = self.look_up(name).await;
        assert!(matches!(found, Lookup::Unavailable), "{name}: {found:?}");
    }
}

async fn within(limit: Duration, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < limit, "not done after {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_that_hangs_takes_one_thread_and_leaves_other_tenants_served() {
    let fixture = Fixture::with_files(Files::wait_for_pipes);
    for (name, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        fixture.set(name, secret);
    }
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    let umbrella = fixture.found("umbrella").await;
    // The name before those of the others: it is read first.
    let pipe = fixture.set_pipe("aaa");
    fixture.set("umbrella", OTHER);
    within(MAX_DELAY, || umbrella.is_revoked()).await;
    fixture.found("umbrella").await;
    for _ in 0..100 {
        fixture.assert_unavailable("aaa").await;
    }
    let files = fixture.files();
    assert_eq!(files.reads.available_permits(), MAX_READS);
    assert_eq!(files.abandoned.len(), 1);
    // Later changes do not wait for the pipe again.
    let umbrella = fixture.found("umbrella").await;
    fixture.set("umbrella", UMBRELLA);
    within(MAX_DELAY, || umbrella.is_revoked()).await;
    assert!(!acme.is_revoked() && files.abandoned.len() == 1);
    // The control: once the read ends, the file is read again.
    fixture.set("aaa", OTHER);
    fixture.assert_unavailable("aaa").await;
    let both_ends = fs::File::options().read(true).write(true).open(pipe);
    let _both_ends = both_ends.expect("the pipe is opened");
    within(Duration::from_secs(10), || {
        fixture.tenants.owners.lock().contains("aaa")
    })
    .await;
    fixture.found("aaa").await;
    assert_eq!(files.abandoned.len(), 0);
}

#[tokio::test]
async fn a_tenant_in_use_whose_file_begins_to_hang_is_not_served() {
    let fixture = Fixture::with_files(Files::wait_for_pipes);
    fixture.set("acme", ACME);
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    let pipe = fixture.set_pipe("acme");
    within(MAX_DELAY, || acme.is_revoked()).await;
    fixture.assert_unavailable("acme").await;
    let both_ends = fs::File::options().read(true).write(true).open(pipe);
    both_ends.expect("the pipe is opened");
}

#[tokio::test]
async fn a_lookup_that_hangs_keeps_its_share_and_its_tenant_gets_no_second_one() {
    let fixture = Fixture::new();
    let files = fixture.files();
    let (release, hung) = channel::<()>();
    let mut hanging = Box::pin(files.in_thread("acme", move |_, _| hung.recv()));
    assert!((&mut hanging).now_or_never().is_none());
    drop(hanging);
    for _ in 0..2 * MAX_READS {
        let read = files.in_thread("acme", Files::read).now_or_never();
        assert!(matches!(read, Some(Err(TenantError::Hung))));
    }
    assert_eq!(files.reads.available_permits(), MAX_READS - 1);
    // The controls: another tenant, and the time after the end.
    assert!(files.in_thread("umbrella", Files::read).await.is_ok());
    drop(release);
    let all = u32::try_from(MAX_READS).expect("the number is small");
    let _all = files.reads.acquire_many(all).await;
    assert!(!files.looked_up.is_open("acme"));
}

#[test]
fn a_file_that_hangs_in_a_lookup_is_skipped() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    let files = fixture.files();
    let mut unreported = BTreeSet::new();
    let mut has_keys = || {
        fixture.tenants.scan_file(files, "acme", &mut unreported);
        fixture.tenants.owners.lock().contains("acme")
    };
    let read = files.looked_up.start("acme", Instant::now());
    // The control: a lookup that has just begun.
    assert!(has_keys());
    while !files.looked_up.is_hung("acme") {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!has_keys());
    drop(read);
    assert!(has_keys());
}
