//! Lookups of tenants with files, with and without the thread that follows their changes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hookgate_gate::Source;
use tempfile::TempDir;

use super::load::MAX_WAIT;
use super::secrets::{Files, MAX_READS, Secrets};
use super::{Lookup, Tenant, Tenants, follower};
use crate::config::Config;

mod admission;
mod hung_files;

const ACME: &str = "whsec_5f0c8a6de2b94a13";
const UMBRELLA: &str = "whsec_77aa12bd90ce4f28";
const OTHER: &str = "whsec_c1d2e3f405162738";

/// The tenants of a source with files in a folder.
pub(super) struct Fixture {
    folder: TempDir,
    pub(super) source: Source,
    pub(super) tenants: Arc<Tenants>,
}

impl Fixture {
    /// Creates the tenants without the thread that reads their files.
    pub(super) fn new() -> Self {
        Self::with_files(|_| ())
    }

    fn with_files(change: impl FnOnce(&mut Files)) -> Self {
        let folder = tempfile::tempdir().expect("the folder is created");
        fs::create_dir(folder.path().join(".old")).expect("the folder is created");
        let config = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\
             [[sources]]\nname = \"partners\"\npath = \"/{{tenant}}\"\nprovider = \"beatapi\"\n\
             secrets = [\"file:{0}/{{tenant}}\", \"file:{0}/.old/{{tenant}}\"]\nupstream = \"app\"\n",
            folder.path().display()
        );
        let config = Config::parse(&config);
        let route = config.expect("the configuration is valid").routes.remove(0);
        let config = route.tenants.expect("the source has tenants");
        let tenants = Tenants::new(route.source.name(), config);
        let mut tenants = tenants.expect("the tenants are created");
        if let Secrets::Files(files) = &mut tenants.secrets {
            change(Arc::get_mut(files).expect("nothing else has the files"));
        }
        Self {
            folder,
            source: route.source,
            tenants: Arc::new(tenants),
        }
    }

    fn files(&self) -> &Arc<Files> {
        match &self.tenants.secrets {
            Secrets::Files(files) => files,
            Secrets::Resolver(_) => panic!("the secrets are files"),
        }
    }

    fn start_follower(&self) {
        follower::spawn(&self.tenants).expect("the thread is started");
    }

    fn set(&self, name: &str, secret: &str) {
        let new = self.folder.path().join(".new");
        fs::write(&new, secret).expect("the file is written");
        fs::rename(new, self.folder.path().join(name)).expect("the file is replaced");
    }

    async fn look_up(&self, name: &str) -> Lookup {
        let found = self.tenants.look_up(&self.source, name, None);
        let found = tokio::time::timeout(10 * MAX_WAIT, found).await;
        found.expect("a lookup has a time limit")
    }

    async fn found(&self, name: &str) -> Arc<Tenant> {
        match self.look_up(name).await {
            Lookup::Found(tenant) => tenant,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Returns whether a lookup has asked for a scan of more than the files that have changed.
    fn has_scanned_again(&self) -> bool {
        self.tenants.scan.take().scan > 1
    }
}

#[tokio::test]
async fn a_new_changed_or_removed_file_is_read_alone() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    fixture.set("umbrella", UMBRELLA);
    let umbrella = fixture.found("umbrella").await;
    assert!(acme.is_current() && umbrella.is_current());
    // The lookup of one tenant waits for the changes of all.
    fixture.set("umbrella", OTHER);
    fixture.set("initech", UMBRELLA);
    fixture.found("initech").await;
    assert!(acme.is_current() && !umbrella.is_current());
    fixture.found("umbrella").await;
    fs::remove_file(fixture.folder.path().join("acme")).expect("the file is removed");
    fixture.set("globex", ACME);
    fixture.found("globex").await;
    assert!(!acme.is_current());
    assert!(matches!(fixture.look_up("acme").await, Lookup::Unknown));
    assert!(!fixture.has_scanned_again());
    // The control: no change of the folder is reported when the target of a link changes.
    let outside = tempfile::tempdir_in(fixture.folder.path()).expect("the folder is created");
    let target = outside.path().join("hooli");
    fs::write(&target, "whsec_0011223344556677").expect("the file is written");
    let folder = outside.path().file_name().expect("the folder has a name");
    let link = Path::new(folder).join("hooli");
    symlink(link, fixture.folder.path().join("hooli")).expect("the link is made");
    fixture.found("hooli").await.revoke();
    fs::write(&target, "whsec_8899aabbccddeeff").expect("the file is written");
    fixture.found("hooli").await;
    assert!(fixture.has_scanned_again());
}

#[tokio::test]
async fn a_file_that_becomes_a_link_with_the_same_secret_is_checked_by_deliveries() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    assert!(acme.files.are_direct);
    // The control: changes of other files leave the tenant in the cache.
    fixture.set("umbrella", UMBRELLA);
    fixture.found("umbrella").await;
    assert!(acme.is_current());
    let path = |name: &str| fixture.folder.path().join(name);
    fs::create_dir(path(".targets")).expect("the folder is created");
    fs::write(path(".targets/acme"), ACME).expect("the file is written");
    symlink(".targets/acme", path(".link")).expect("the link is made");
    fs::rename(path(".link"), path("acme")).expect("the file is replaced");
    // The lookup of one tenant waits for the changes of all.
    fixture.set("initech", OTHER);
    fixture.found("initech").await;
    assert!(!acme.is_current());
    assert!(!fixture.found("acme").await.files.are_direct);
}

#[test]
fn a_missing_file_that_becomes_a_link_is_noticed_although_no_version_changes() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    let files = fixture.files();
    let version = || fixture.tenants.owners.lock().files("acme").version;
    let mut unreported = BTreeSet::new();
    // A file that has just changed has no version.
    while version().is_none() {
        fixture.tenants.scan_file(files, "acme", &mut unreported);
        thread::sleep(Duration::from_millis(20));
    }
    fixture.tenants.scan_file(files, "acme", &mut unreported);
    assert!(unreported.is_empty());
    let link = fixture.folder.path().join(".old/acme");
    symlink("missing", link).expect("the link is made");
    fixture.tenants.scan_file(files, "acme", &mut unreported);
    assert!(unreported.contains("acme"));
}

#[tokio::test]
async fn a_file_with_the_key_of_another_one_ends_both_before_its_first_lookup() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.set("umbrella", UMBRELLA);
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    fixture.set("acme.bak", ACME);
    let umbrella = fixture.found("umbrella").await;
    assert!(umbrella.is_current() && !acme.is_current());
    for name in ["acme", "acme.bak"] {
        let found = fixture.look_up(name).await;
        assert!(matches!(found, Lookup::Unavailable), "{name}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_ends_although_the_scan_does_not() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    let found = fixture.look_up("acme").await;
    assert!(matches!(found, Lookup::Unavailable), "{found:?}");
    // The control.
    tokio::time::resume();
    fixture.start_follower();
    fixture.tenants.missing.invalidate("acme");
    fixture.found("acme").await;
}

#[tokio::test(start_paused = true)]
async fn a_lookup_ends_although_the_file_system_hangs() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.start_follower();
    let files = fixture.files();
    // Each thread that reads a file waits, as for a network file system whose server is gone.
    let all = u32::try_from(MAX_READS).expect("the number is small");
    let hung = files.reads.acquire_many(all).await;
    let found = fixture.look_up("acme").await;
    assert!(matches!(found, Lookup::Unavailable), "{found:?}");
    // The control.
    drop(hung);
    tokio::time::resume();
    fixture.tenants.missing.invalidate("acme");
    fixture.found("acme").await;
}
