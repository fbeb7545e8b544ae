//! Which tenants a lookup adds to the cache.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Instant;

use super::super::load::Admission;
use super::super::owners::{KeyDigest, RecordedFiles};
use super::{ACME, Fixture, Lookup, Tenant, Tenants, UMBRELLA};

const DIRECT: RecordedFiles = RecordedFiles {
    version: None,
    are_direct: true,
};

impl Fixture {
    /// Reads the file of a tenant, as a lookup does.
    fn read(&self, name: &str) -> (Vec<KeyDigest>, Arc<Tenant>) {
        let read = self.files().read(name).expect("the file is usable");
        let tenant = self
            .tenants
            .tenant_with(read, &self.source, name, Instant::now());
        tenant.expect("the secret is usable")
    }
}

fn is_cached(tenants: &Tenants) -> bool {
    tenants.known.get("acme", Instant::now()).is_some()
}

#[test]
fn a_tenant_whose_keys_or_files_were_replaced_meanwhile_is_not_admitted() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.set("umbrella", UMBRELLA);
    let (digests, acme) = fixture.read("acme");
    let (others, _) = fixture.read("umbrella");
    let link = RecordedFiles {
        are_direct: false,
        ..DIRECT
    };
    for (recorded, files, expected) in [
        (&digests[..], DIRECT, Admission::Admitted),
        (&others, DIRECT, Admission::OtherKeys),
        (&digests, link, Admission::OtherKeys),
        (&[], DIRECT, Admission::OtherKeys),
    ] {
        fixture.tenants.record_keys("acme", recorded, files);
        let admission = fixture.tenants.admit("acme", &digests, &acme);
        let is_cached = is_cached(&fixture.tenants);
        assert_eq!(is_cached, expected == Admission::Admitted);
        assert_eq!(admission, expected);
    }
    fixture.tenants.record_keys("acme", &digests, DIRECT);
    fixture.tenants.record_keys("acme.bak", &digests, DIRECT);
    let admission = fixture.tenants.admit("acme", &digests, &acme);
    assert_eq!(admission, Admission::SharedWith("acme.bak".into()));
}

#[tokio::test]
async fn a_key_that_another_tenant_gave_up_without_a_report_is_free_at_once() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir_in(fixture.folder.path()).expect("the folder is created");
    let target = outside.path().join("secret");
    fs::write(&target, ACME).expect("the file is written");
    let folder = outside.path().file_name().expect("the folder has a name");
    let link = std::path::Path::new(folder).join("secret");
    symlink(link, fixture.folder.path().join("acme.bak")).expect("the link is made");
    fixture.set("acme", ACME);
    fixture.start_follower();
    // The control: the key has two tenants.
    let found = fixture.look_up("acme").await;
    assert!(matches!(found, Lookup::Unavailable), "{found:?}");
    fs::write(&target, UMBRELLA).expect("the file is written");
    fixture.tenants.missing.invalidate("acme");
    fixture.found("acme").await;
}

#[tokio::test]
async fn a_lookup_finds_a_change_that_was_not_reported() {
    let fixture = Fixture::new();
    fixture.set("acme", ACME);
    fixture.set("umbrella", UMBRELLA);
    fixture.start_follower();
    let acme = fixture.found("acme").await;
    let (others, _) = fixture.read("umbrella");
    // The earlier secret of a file over which another one was mounted.
    fixture.tenants.record_keys("acme", &others, DIRECT);
    assert!(acme.is_revoked());
    fixture.found("acme").await;
}
