//! Tenants with equal keys. A captured delivery of the first would verify for the second.

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, GatewayBuilder, Upstream};
use http::StatusCode;
use serde_json::json;

use super::{
    ACME, OTHER, TenantFolder, UMBRELLA, first_status, partners, source, status, wait_for_status,
    with_files,
};
use crate::configuration::{VALID, run_on};

/// Both orders of two tenants.
const ORDERS: [[&str; 2]; 2] = [["acme", "acme.bak"], ["acme.bak", "acme"]];

#[tokio::test]
async fn tenants_with_an_equal_key_are_refused_in_each_order() {
    for order in ORDERS {
        let (upstream, files) = (Upstream::start().await, TenantFolder::new());
        files.set("acme", ACME);
        files.set("acme.bak", ACME);
        files.set("umbrella", UMBRELLA);
        let gateway = with_files(&upstream, &files).start_without_default_sources();
        for tenant in order {
            let found = first_status(&gateway, tenant, ACME, "evt_1").await;
            assert_eq!(found, 503, "{tenant} of {order:?}");
        }
        gateway
            .wait_for_log("has the same key, so a delivery to one")
            .await;
        assert!(upstream.take_received().is_empty(), "{order:?}");
        assert!(!gateway.log().contains(ACME));
        // The controls: a tenant with its own key is served, and the key counts again for one tenant.
        let found = status(&gateway, "umbrella", UMBRELLA, "evt_1").await;
        assert_eq!(found, 204);
        files.remove("acme.bak");
        wait_for_status(&gateway, "acme", ACME, 204).await;
    }
}

/// The copy is named first after a restart. Its tenant had deliveries before that.
#[tokio::test]
async fn a_capture_does_not_verify_for_a_copy_after_a_restart_or_a_reload() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    let builder = || with_files(&upstream, &files);
    let before = builder().start_without_default_sources();
    assert_eq!(status(&before, "acme", ACME, "evt_1").await, 204);
    drop(before);
    files.set("acme.bak", ACME);
    let gateway = builder().start_without_default_sources();
    let found = first_status(&gateway, "acme.bak", ACME, "evt_1").await;
    assert_eq!(found, 503);
    gateway.edit_config("path = \"/partners/{tenant}\"", "path = \"/in/{tenant}\"");
    assert!(gateway.reload().await);
    let request = super::delivery("/in/acme.bak", ACME, "evt_1");
    let response = hookgate_tests::send_bytes(gateway.address(), request).await;
    assert_eq!(response.status, 503);
    // Only the delivery before the restart has arrived.
    assert_eq!(upstream.take_received().len(), 1);
}

#[tokio::test]
async fn a_copy_of_a_file_that_is_new_is_refused_although_it_is_named_first() {
    for order in ORDERS {
        let (upstream, files) = (Upstream::start().await, TenantFolder::new());
        files.set("umbrella", UMBRELLA);
        let gateway = with_files(&upstream, &files).start_without_default_sources();
        // All files that exist at the start have been read.
        let found = status(&gateway, "umbrella", UMBRELLA, "evt_1").await;
        assert_eq!(found, 204);
        files.set("acme", ACME);
        files.set("acme.bak", ACME);
        for tenant in order {
            let found = first_status(&gateway, tenant, ACME, "evt_1").await;
            assert_eq!(found, 503, "{tenant} of {order:?}");
        }
        assert_eq!(upstream.take_received().len(), 1, "{order:?}");
    }
}

#[tokio::test]
async fn a_tenant_is_not_served_any_more_after_another_one_has_its_key() {
    let (upstream, files) = (Upstream::start().await, TenantFolder::new());
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let gateway = with_files(&upstream, &files).start_without_default_sources();
    for (tenant, secret) in [("acme", ACME), ("umbrella", UMBRELLA)] {
        assert_eq!(status(&gateway, tenant, secret, "evt_1").await, 204);
    }
    files.set("umbrella", ACME);
    wait_for_status(&gateway, "umbrella", ACME, 503).await;
    wait_for_status(&gateway, "acme", ACME, 503).await;
    assert_eq!(first_status(&gateway, "acme", ACME, "evt_2").await, 503);
    // The key moves to the other tenant.
    files.set("acme", OTHER);
    wait_for_status(&gateway, "umbrella", ACME, 204).await;
    wait_for_status(&gateway, "acme", OTHER, 204).await;
    assert_eq!(status(&gateway, "acme", ACME, "evt_3").await, 401);
}

#[tokio::test]
async fn an_old_secret_of_one_tenant_is_no_secret_of_another() {
    let (upstream, files, old) = (
        Upstream::start().await,
        TenantFolder::new(),
        TenantFolder::new(),
    );
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    old.set("umbrella", ACME);
    // The same tenant may have a secret twice.
    files.set("initech", OTHER);
    old.set("initech", OTHER);
    let second = format!(
        "/{{tenant}}\", {{ from = \"file:{}/{{tenant}}\", id = \"old\" }}]",
        old.path().display()
    );
    let table = partners(&files.path(), "").replace("/{tenant}\"]", &second);
    let gateway = Gateway::builder(upstream.address())
        .table(&table)
        .start_without_default_sources();
    for (tenant, secret) in [("umbrella", ACME), ("acme", ACME), ("umbrella", UMBRELLA)] {
        let found = first_status(&gateway, tenant, secret, "evt_1").await;
        assert_eq!(found, 503, "{tenant}");
    }
    assert_eq!(status(&gateway, "initech", OTHER, "evt_1").await, 204);
    old.remove("umbrella");
    wait_for_status(&gateway, "umbrella", UMBRELLA, 204).await;
    wait_for_status(&gateway, "acme", ACME, 204).await;
}

#[test]
fn check_names_the_files_of_tenants_with_equal_keys() {
    let files = TenantFolder::new();
    files.set("acme", ACME);
    files.set("umbrella", UMBRELLA);
    let config = format!("{VALID}\n{}", partners(&files.path(), ""));
    // The control.
    let (exit, output) = run_on("check", &config);
    assert_eq!(exit, Some(0), "{output}");
    files.set("acme.bak", ACME);
    let (exit, output) = run_on("check", &config);
    assert_eq!(exit, Some(78), "{output}");
    for name in ["acme", "acme.bak"] {
        let path = files.path().join(name).display().to_string();
        assert!(output.contains(&path), "{path}: {output}");
    }
    assert!(output.contains("source partners: secrets: 2 tenants have the same key"));
    assert!(
        !output.contains("umbrella") && !output.contains(ACME),
        "{output}"
    );
}

fn answer(secret: &str) -> Behaviour {
    let body = json!({ "secrets": [secret] }).to_string();
    Behaviour::Response(StatusCode::OK, &[], Bytes::from(body))
}

fn resolving(upstream: &Upstream, resolver: &Upstream) -> GatewayBuilder {
    let secret = format!(
        "{{ resolve = \"http://{}/{{tenant}}\", ttl = \"1h\", timeout = \"30s\" }}",
        resolver.address()
    );
    Gateway::builder(upstream.address()).table(&source(&secret, ""))
}

#[tokio::test]
async fn a_name_with_a_key_of_an_earlier_tenant_is_refused_and_the_tenant_is_served() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    resolver.set_default_behaviour(answer(ACME));
    let gateway = resolving(&upstream, &resolver).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    assert_eq!(first_status(&gateway, "umbrella", ACME, "evt_1").await, 503);
    // A stranger who invents a name takes nothing from the first tenant.
    assert_eq!(status(&gateway, "acme", ACME, "evt_2").await, 204);
    assert_eq!(upstream.take_received().len(), 2);
    // The control: the second name is a tenant as soon as it has a key of its own.
    resolver.set_default_behaviour(answer(OTHER));
    wait_for_status(&gateway, "umbrella", OTHER, 204).await;
}

#[tokio::test]
async fn a_reload_keeps_the_tenants_of_a_source_that_has_not_changed() {
    let (upstream, resolver) = (Upstream::start().await, Upstream::start().await);
    let moved = Upstream::start().await;
    resolver.set_default_behaviour(answer(ACME));
    let gateway = resolving(&upstream, &resolver).start_without_default_sources();
    assert_eq!(status(&gateway, "acme", ACME, "evt_1").await, 204);
    assert_eq!(resolver.take_received().len(), 1);
    let (from, to) = (upstream.address().to_string(), moved.address().to_string());
    gateway.edit_config(&from, &to);
    assert!(gateway.reload().await);
    // The same keys, and the new upstream.
    assert_eq!(status(&gateway, "acme", ACME, "evt_2").await, 204);
    assert_eq!(resolver.take_received().len(), 0);
    assert_eq!(upstream.take_received().len(), 1);
    assert_eq!(moved.take_received().len(), 1);
    // A tenant that had a delivery before the reload has an owner after it.
    assert_eq!(first_status(&gateway, "umbrella", ACME, "evt_1").await, 503);
    // The control: other settings of the tenants ask again.
    resolver.take_received();
    gateway.edit_config("ttl = \"1h\"", "ttl = \"2h\"");
    assert!(gateway.reload().await);
    assert_eq!(status(&gateway, "acme", ACME, "evt_3").await, 204);
    assert_eq!(resolver.take_received().len(), 1);
}
