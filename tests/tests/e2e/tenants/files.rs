//! Tenants whose secrets are files.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use hookgate_tests::{Gateway, Upstream, exchange, send_bytes};
use http::{HeaderValue, StatusCode};
use tokio::net::TcpStream;

use super::{
    ACME, OTHER, TenantFolder, UMBRELLA, deliver, delivery, partners, status, wait_for_status,
    with_files,
};

#[tokio::test]
async fn each_tenant_has_its_own_secret_and_its_own_events() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    for (tenant, secret, expected) in [
        ("acme", ACME, 204),
        ("umbrella", UMBRELLA, 204),
        // The secret of another tenant.
        ("acme", UMBRELLA, 401),
        ("umbrella", ACME, 401),
        // The event is done, for each of them.
        ("acme", ACME, 200),
        ("umbrella", UMBRELLA, 200),
        ("initech", ACME, 404),
        ("ACME", ACME, 404),
    ] {
        let found = status(&gateway, tenant, secret, "evt_1").await;
        assert_eq!(found, expected, "{tenant} {secret}");
    }
    let received = upstream.take_received();
    let tenants: Vec<_> = received
        .iter()
        .map(|request| request.headers["hookgate-tenant"].clone())
        .collect();
    assert_eq!(tenants, ["acme", "umbrella"]);
    assert_eq!(received[0].path, "/partners/acme");
}

#[tokio::test]
async fn the_upstream_gets_no_tenant_of_the_sender() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let gateway = with_files(&upstream, &files).start();
    for (number, name) in ["hookgate-tenant", "hookgate_tenant", "hookgate.tenant"]
        .into_iter()
        .enumerate()
    {
        let mut request = delivery("/partners/acme", ACME, &format!("evt_{number}"));
        let forged = HeaderValue::from_static("umbrella");
        request.headers_mut().insert(name, forged);
        assert_eq!(send_bytes(gateway.address(), request).await.status, 204);
        let received = upstream.take_received().remove(0);
        let values: Vec<_> = received
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().replace(['_', '.'], "-") == "hookgate-tenant")
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(values, ["acme"], "{name}");
    }
    // A source without tenants sends no such header.
    let other = hookgate_tests::TestProvider::named("beatapi").delivery("evt_9");
    let response = hookgate_tests::send(gateway.address(), other).await;
    assert_eq!(response.status, 204);
    let received = upstream.take_received().remove(0);
    assert!(!received.headers.contains_key("hookgate-tenant"));
}

/// Sends a request with this path as it stands. Returns the status.
async fn raw_status(gateway: &Gateway, path: &str) -> String {
    let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    let stream = TcpStream::connect(gateway.address()).await;
    let response = exchange(
        &mut stream.expect("the gateway listens"),
        request.as_bytes(),
    )
    .await;
    response.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_name_that_no_tenant_can_have_is_404_and_reads_nothing() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    fs::write(files.path().join("..hidden"), ACME).expect("the file is written");
    fs::write(files.0.path().join("outside"), ACME).expect("the file is written");
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    let too_long = format!("/partners/{}", "a".repeat(65));
    for path in [
        "/partners/..%2f",
        "/partners/..%2foutside",
        "/partners/..",
        "/partners/../outside",
        "/partners/.",
        "/partners/..hidden",
        "/partners/%61cme",
        "/partners/acme%00",
        "/partners/acme/",
        "/partners//acme",
        "/partners/",
        "/partners",
        "/partners/-acme",
        "/partners/acme;x",
        "/partners/{tenant}",
        too_long.as_str(),
    ] {
        assert_eq!(raw_status(&gateway, path).await, "404", "{path}");
    }
    // The control: this path is a tenant, so the missing signature decides.
    assert_eq!(raw_status(&gateway, "/partners/acme").await, "401");
    let longest = format!("/partners/{}", "a".repeat(64));
    assert_eq!(raw_status(&gateway, &longest).await, "404");
    assert!(upstream.take_received().is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_503_and_never_open() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    let path = |name: &str| files.path().join(name);
    fs::write(files.0.path().join("outside"), ACME).expect("the file is written");
    symlink("../outside", path("escape")).expect("the link is made");
    symlink(files.0.path().join("outside"), path("absolute")).expect("the link is made");
    // No tenant can have the name of the file, so no other tenant has its key.
    symlink(".inside", path("inside")).expect("the link is made");
    let made = Command::new("mkfifo").arg(path("pipe")).status();
    assert!(made.expect("`mkfifo` is installed").success());
    fs::create_dir(path("folder")).expect("the folder is created");
    fs::write(path("large"), ACME.repeat(4000)).expect("the file is written");
    fs::write(path("empty"), "\n").expect("the file is written");
    fs::write(path("placeholder"), "${SECRET}").expect("the file is written");
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    for tenant in [
        "escape",
        "absolute",
        "pipe",
        "folder",
        "large",
        "empty",
        "placeholder",
    ] {
        let response = deliver(&gateway, tenant, ACME, "evt_1").await;
        assert_eq!(response.status, 503, "{tenant}");
        assert!(response.headers.contains_key("retry-after"), "{tenant}");
    }
    assert!(upstream.take_received().is_empty());
    // A link inside of the directory is followed. It is missing until the file is.
    assert_eq!(status(&gateway, "inside", ACME, "evt_2").await, 404);
    files.set(".inside", ACME);
    wait_for_status(&gateway, "inside", ACME, 204).await;
    let log = gateway.log();
    assert!(!log.contains(ACME), "{log}");
}

#[tokio::test]
async fn a_changed_file_counts_and_the_old_secret_does_not() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    files.set("acme", OTHER);
    let took = wait_for_status(&gateway, "acme", OTHER, 204).await;
    println!("a changed file counted after {took:?}");
    assert_eq!(status(&gateway, "acme", ACME, "evt_2").await, 401);
    files.remove("acme");
    let took = wait_for_status(&gateway, "acme", OTHER, 404).await;
    println!("a removed file counted after {took:?}");
    files.set("acme", ACME);
    let took = wait_for_status(&gateway, "acme", ACME, 204).await;
    println!("a new file counted after {took:?}");
}

/// No name in the directory changes when the file is written through its other name.
#[tokio::test]
async fn a_file_counts_that_is_written_in_place_by_any_name() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let other_name = files.0.path().join("other-name");
    fs::hard_link(files.path().join("umbrella"), &other_name).expect("the link is made");
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 204);
    }
    // Both secrets are as long as before.
    fs::write(files.path().join("acme"), format!("{OTHER}\n")).expect("the file is written");
    wait_for_status(&gateway, "acme", OTHER, 204).await;
    assert_eq!(status(&gateway, "acme", ACME, "evt_2").await, 401);
    fs::write(other_name, format!("{ACME}\n")).expect("the file is written");
    wait_for_status(&gateway, "umbrella", ACME, 204).await;
    assert_eq!(status(&gateway, "umbrella", UMBRELLA, "evt_2").await, 401);
}

/// Gives the folder two tenants, whose files are links as those of a Kubernetes volume. `..data`
/// leads to a folder with both, and the folder `..2` has one of them.
fn link_volume(files: &TenantFolder) {
    for (version, tenant, secret) in [
        ("..1", "acme", ACME),
        ("..1", "umbrella", UMBRELLA),
        ("..2", "umbrella", OTHER),
    ] {
        let folder = files.path().join(version);
        fs::create_dir_all(&folder).expect("the folder is created");
        fs::write(folder.join(tenant), secret).expect("the file is written");
    }
    symlink("..1", files.path().join("..data")).expect("the link is made");
    for tenant in ["acme", "umbrella"] {
        let target = format!("..data/{tenant}");
        symlink(target, files.path().join(tenant)).expect("the link is made");
    }
}

#[tokio::test]
async fn a_tenant_that_a_replaced_volume_does_not_have_is_unknown() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    link_volume(&files);
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 204);
    }
    symlink("..2", files.path().join("..new")).expect("the link is made");
    fs::rename(files.path().join("..new"), files.path().join("..data")).expect("it is replaced");
    let took = wait_for_status(&gateway, "acme", ACME, 404).await;
    println!("a tenant without a file was unknown after {took:?}");
    wait_for_status(&gateway, "umbrella", OTHER, 204).await;
    assert_eq!(status(&gateway, "umbrella", UMBRELLA, "evt_2").await, 401);
}

#[tokio::test]
async fn a_tenant_that_a_replaced_directory_does_not_have_is_unknown() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    let tenants = [("acme", ACME), ("umbrella", UMBRELLA)];
    for (tenant, secret) in tenants {
        files.set(tenant, secret);
    }
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    // The directory is missing for a while.
    for (number, missing) in [Missing::Seen, Missing::Unseen].into_iter().enumerate() {
        for (tenant, secret) in tenants {
            let id = format!("evt_{number}");
            assert_eq!(status(&gateway, tenant, secret, &id).await, 204);
        }
        let (moved, next) = (files.0.path().join("moved"), files.0.path().join("next"));
        fs::create_dir(&next).expect("the folder is created");
        fs::write(next.join("umbrella"), OTHER).expect("the file is written");
        fs::rename(files.path(), &moved).expect("the folder is moved");
        if missing == Missing::Seen {
            wait_for_status(&gateway, "acme", ACME, 503).await;
            wait_for_status(&gateway, "umbrella", UMBRELLA, 503).await;
        }
        fs::rename(next, files.path()).expect("the folder is moved");
        let took = wait_for_status(&gateway, "acme", ACME, 404).await;
        println!("a tenant without a file was unknown after {took:?}");
        wait_for_status(&gateway, "umbrella", OTHER, 204).await;
        let id = format!("evt_old_{number}");
        assert_eq!(status(&gateway, "umbrella", UMBRELLA, &id).await, 401);
        // The control: the tenant is known again in its old directory.
        fs::remove_dir_all(files.path()).expect("the folder is removed");
        fs::rename(moved, files.path()).expect("the folder is moved");
        for (tenant, secret) in tenants {
            wait_for_status(&gateway, tenant, secret, 204).await;
        }
    }
}

/// Whether a delivery arrives while the directory is missing.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Seen,
    Unseen,
}

#[tokio::test]
async fn a_second_directory_holds_the_old_secrets_of_a_rotation() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    let old = TenantFolder::new();
    files.set("acme", ACME);
    old.set("acme", OTHER);
    old.set("initech", UMBRELLA);
    let table = partners(&files.path(), "").replace(
        "/{tenant}\"]",
        &format!(
            "/{{tenant}}\", {{ from = \"file:{}/{{tenant}}\", id = \"old\" }}]",
            old.path().display()
        ),
    );
    let gateway = Gateway::builder(upstream.address())
        .table(&table)
        .start_without_default_sources();
    for (tenant, secret, id, key_id) in [
        ("acme", ACME, "evt_1", "1"),
        ("acme", OTHER, "evt_2", "old"),
        ("initech", UMBRELLA, "evt_3", "old"),
    ] {
        assert_eq!(status(&gateway, tenant, secret, id).await, 204, "{id}");
        let received = upstream.take_received().remove(0);
        assert_eq!(received.headers["hookgate-key-id"], key_id, "{id}");
    }
    old.remove("acme");
    wait_for_status(&gateway, "acme", OTHER, 401).await;
    assert_eq!(status(&gateway, "acme", ACME, "evt_4").await, 204);
    let matched = gateway
        .existing_counter("hookgate_key_matches_total{key=\"old\",source=\"partners\"}")
        .await;
    assert!(matched >= 2, "{matched}");
}

#[tokio::test]
async fn an_observing_source_forwards_when_the_secrets_are_unavailable() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    fs::create_dir(files.path().join("broken")).expect("the folder is created");
    let gateway = Gateway::builder(upstream.address())
        .table(&partners(&files.path(), "mode = \"observe\""))
        .start_without_default_sources();
    let response = deliver(&gateway, "broken", ACME, "evt_1").await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let received = upstream.take_received().remove(0);
    assert_eq!(received.headers["hookgate-verified"], "false");
    assert_eq!(received.headers["hookgate-tenant"], "broken");
    // An unknown tenant has no route in either mode.
    assert_eq!(status(&gateway, "unknown", ACME, "evt_2").await, 404);
}
