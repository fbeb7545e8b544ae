//! The status of the gateway, and the configuration in effect without its secrets.

use hookgate_tests::{Certificates, Gateway, Upstream};

use super::{ApiCall, OPS, SUPPORT, deliver, deliver_forged, deliveries, with_inspector};
use crate::observability::TLS_METRIC;

#[tokio::test]
async fn the_status_shows_stores_keys_upstreams_and_certificates() {
    let upstream = Upstream::start().await;
    let certificates = Certificates::new();
    certificates.issue("server", "localhost");
    let gateway = with_inspector(Gateway::builder(upstream.address()), "keep = 50")
        .tls(&certificates)
        .start();
    deliver(&gateway, "evt_1").await;
    deliver_forged(&gateway, "evt_2").await;
    deliveries(&gateway, "", 2).await;
    let status = ApiCall::get("/api/status").token(SUPPORT);
    let status = status.json(&gateway).await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["records"]["kept"], 2);
    assert_eq!(status["records"]["keep"], 50);
    assert_eq!(status["records"]["dropped"], 0);
    assert_eq!(status["captures"]["count"], 0);
    assert_eq!(status["captures"]["limit"], 64 << 20);
    assert_eq!(status["store"]["kind"], "memory");
    assert_eq!(status["store"]["entries"], 1);
    assert_eq!(status["store"]["max_entries"], 1_000_000);
    let rate = &status["rates"][0];
    assert_eq!(rate["seconds"], 10, "{status}");
    assert!(rate["upstream_ms"]["p50"].is_number(), "{status}");
    let sources = status["sources"].as_array().expect("a list");
    let beatapi = sources.iter().find(|source| source["name"] == "beatapi");
    let beatapi = beatapi.expect("the source is configured");
    assert_eq!(beatapi["path"], "/hooks/beatapi");
    assert_eq!(beatapi["upstream"], "app");
    assert_eq!(beatapi["capture"], "none");
    assert_eq!(beatapi["keys"][0]["deliveries"], 1);
    assert!(beatapi["keys"][0]["last_used"].is_string(), "{status}");
    let unused = sources.iter().find(|source| source["name"] == "beel");
    let unused = &unused.expect("the source is configured")["keys"][0];
    assert_eq!(unused["deliveries"], 0);
    assert!(unused["last_used"].is_null(), "{status}");
    let server = &status["upstreams"][0]["servers"][0];
    assert_eq!(server["address"], upstream.address().to_string());
    assert_eq!(server["healthy"], true);
    let certificate = &status["certificates"][0];
    assert!(certificate["not_after"].is_string(), "{status}");
    assert!(certificate["listen"].is_string(), "{status}");
    let metrics = gateway.get_admin("/metrics").await;
    let expiry = format!("{TLS_METRIC}{{listen=");
    assert!(metrics.contains(&expiry), "{metrics}");
}

#[tokio::test]
async fn the_configuration_has_no_secret() {
    let upstream = Upstream::start().await;
    let gateway = with_inspector(Gateway::builder(upstream.address()), "")
        .table(
            "[[sources]]\nname = \"own\"\npath = \"/hooks/own\"\nsecrets = [\"env:OWN_SECRET\"]\n\
             upstream = \"app\"\nparams = { account = \"canary-param\" }\n\
             url = \"https://canary-user:canary-password@hooks.example/hooks/own?key=canary-query\"\n\
             [sources.scheme]\nalg = \"hmac-sha256\"\n\
             sig = { in = \"header:x-own\", prefix = \"canary-prefix=\", enc = \"hex\" }\n\
             msg = \"canary-text{param:account}{url}{body}\"",
        )
        .env("OWN_SECRET", "canary-secret-0123456789abcdef")
        .env("HOOKGATE__INSPECTOR__KEEP", "77")
        .start();
    let config = ApiCall::get("/api/config").json(&gateway).await;
    let toml = config["toml"].as_str().expect("a text");
    for shown in [
        "keep = 77",
        "name = \"beatapi\"",
        "\"env:OPS_TOKEN\"",
        "\"env:SECRET_0\"",
        "[redacted]",
        "{param:account}",
    ] {
        assert!(toml.contains(shown), "{shown}: {toml}");
    }
    for secret in ["canary", OPS, SUPPORT, "whsec_"] {
        assert!(!toml.contains(secret), "{secret}: {toml}");
    }
    // The control: the file of the configuration has the canaries.
    let file = std::fs::read_to_string(gateway.config_path()).expect("readable");
    assert!(file.contains("canary-password"));
    gateway.edit_config(
        "upstream = \"app\"\nparams",
        "capture = \"all\"\nupstream = \"app\"\nparams",
    );
    assert!(gateway.reload().await);
    let reloaded = ApiCall::get("/api/config").json(&gateway).await;
    let toml = reloaded["toml"].as_str().expect("a text");
    assert!(toml.contains("capture = \"all\""), "{toml}");
}
