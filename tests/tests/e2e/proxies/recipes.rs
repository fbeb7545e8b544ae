//! The configurations of docs/proxies.md, with the real proxies in front of the gateway, and a
//! Flask app behind it that forces https.

use hookgate_tests::{TestProvider, now, send};
use http::{HeaderValue, StatusCode};

use super::programs::{App, Proxy, Site};
use crate::documents::{blocks, read};

const PAGE: &str = "docs/proxies.md";
/// The addresses of the sender and of the host that it claims to be.
pub(super) const SENDER: &str = "127.0.0.5";
const CLAIMED: &str = "203.0.113.9";
/// The default of `client_max_body_size`.
const NGINX_BODY_LIMIT: usize = 1 << 20;

fn page(language: &str) -> String {
    let block = blocks(&read(PAGE), language);
    assert!(!block.is_empty(), "the page has a block {language}");
    block
}

/// Asserts that deliveries and pages arrive, each with the address of the sender and https.
async fn assert_serves(proxy: Proxy, config: &str) {
    let Some(site) = Site::start(proxy, config, App::Page(page("python"))).await else {
        return;
    };
    for (index, version) in ["--http1.1", "--http2"].into_iter().enumerate() {
        // The gateway ignores the claims of the sender about itself.
        let claims = [
            format!("X-Forwarded-For: {CLAIMED}"),
            format!("Forwarded: for={CLAIMED};proto=http"),
            "X-Forwarded-Proto: http".to_owned(),
            "X-Forwarded-Host: evil.example".to_owned(),
        ];
        let id = format!("evt_{index}");
        let (status, body) = site.deliver(&id, version, &claims);
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}\n{}", site.logs());
        let line = format!("delivery {id} {SENDER} https");
        site.wait_for_app(&line).await;

        let (status, body) = site.get("/", version);
        assert_eq!(status, StatusCode::OK, "{body}\n{}", site.logs());
        assert_eq!(body, format!("page for {SENDER} over https\n"));
        // The gateway answers below /hooks/, and the app does not.
        let (status, body) = site.get("/hooks/other", version);
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("\"status\":404"), "{body}");
        let (status, body) = site.post_unsigned(version);
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    }
    let lines = site.gateway.wait_for_access_log(6).await;
    for line in lines {
        assert_eq!(line["client"], SENDER);
    }
    assert_eq!(site.app_lines("delivery ").len(), 2, "{}", site.logs());
}

#[tokio::test]
async fn nginx_serves_deliveries_and_pages() {
    assert_serves(Proxy::Nginx(page("nginx")), &page("toml")).await;
}

#[tokio::test]
async fn caddy_serves_deliveries_and_pages() {
    assert_serves(Proxy::Caddy(page("caddyfile")), &page("toml")).await;
}

#[tokio::test]
async fn haproxy_serves_deliveries_and_pages() {
    assert_serves(Proxy::Haproxy(page("haproxy")), &page("toml")).await;
}

#[tokio::test]
async fn envoy_serves_deliveries_and_pages() {
    assert_serves(Proxy::Envoy(page("yaml")), &page("toml")).await;
}

/// Returns the configuration of the page for a gateway that reads `Forwarded`.
fn rfc7239() -> String {
    let trust = "trusted_proxies = [\"127.0.0.1\"]\n";
    let config = page("toml");
    assert!(config.contains(trust), "{config}");
    config.replace(trust, &format!("{trust}forwarded = \"rfc7239\"\n"))
}

/// Returns `config` with `added` after `line`.
fn with_line(config: &str, line: &str, added: &str) -> String {
    assert!(config.contains(line), "{config}");
    config.replace(line, &format!("{line}{added}"))
}

#[tokio::test]
async fn nginx_can_write_forwarded() {
    let line = "    proxy_set_header X-Forwarded-Proto $scheme;\n";
    let server = with_line(&page("nginx"), line, &page("nginx forwarded"));
    let proxy = Proxy::Nginx(page("nginx map") + &server);
    assert_serves(proxy, &rfc7239()).await;
}

#[tokio::test]
async fn haproxy_can_write_forwarded() {
    let line = "    http-request set-header X-Forwarded-Proto https\n";
    let proxy = with_line(&page("haproxy"), line, &page("haproxy forwarded"));
    assert_serves(Proxy::Haproxy(proxy), &rfc7239()).await;
}

/// The control: the same proxy and app, and a gateway without trusted proxies.
#[tokio::test]
async fn without_trusted_proxies_the_app_redirects_and_the_log_says_why() {
    let config = page("toml");
    let trust = "trusted_proxies = [\"127.0.0.1\"]\n";
    assert!(config.contains(trust), "{config}");
    let config = config.replace(trust, "");
    let nginx = Proxy::Nginx(page("nginx"));
    let Some(site) = Site::start(nginx, &config, App::Page(page("python"))).await else {
        return;
    };
    let (status, _) = site.deliver("evt_1", "--http1.1", &[]);
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{}", site.logs());
    site.gateway
        .wait_for_log(
            "the upstream responded 301 (Location: https://hooks.example/hooks/beatapi); the sender \
             gets 502. Does the app force https? Set server.trusted_proxies",
        )
        .await;
    let lines = site.gateway.wait_for_access_log(1).await;
    assert_eq!(lines[0]["client"], "127.0.0.1");
    assert_eq!(site.app_lines("delivery ").len(), 0);
}

#[tokio::test]
async fn an_app_behind_flask_talisman_gets_deliveries() {
    let nginx = Proxy::Nginx(page("nginx"));
    let Some(site) = Site::start(nginx, &page("toml"), App::Talisman).await else {
        return;
    };
    let (status, body) = site.deliver("evt_1", "--http2", &[]);
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}\n{}", site.logs());
    site.wait_for_app("delivery evt_1").await;
}

/// The gateway sends verified deliveries back to nginx, which reaches the app.
#[tokio::test]
async fn nginx_can_be_the_last_hop() {
    let nginx = Proxy::Nginx(page("nginx") + &page("nginx back"));
    let config = page("toml").replace("127.0.0.1:3000", "127.0.0.1:8081");
    let config = config.replace("upstream = \"app\"", "upstream = \"app\"\nbody = \"2MiB\"");
    let Some(site) = Site::start(nginx, &config, App::Page(page("python"))).await else {
        return;
    };
    let (status, body) = site.deliver("evt_1", "--http1.1", &[]);
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}\n{}", site.logs());
    let line = format!("delivery evt_1 {SENDER} https");
    site.wait_for_app(&line).await;

    // A body above the default limit of nginx, with the headers of the first hop.
    let provider = TestProvider::named("beatapi");
    let mut body = provider.body("evt_2").to_vec();
    body.resize(NGINX_BODY_LIMIT + 1, b' ');
    let mut delivery = provider.request(provider.sign(&body, now(), "evt_2"), body.into());
    for (name, value) in [("x-forwarded-for", SENDER), ("x-forwarded-proto", "https")] {
        let value = HeaderValue::from_static(value);
        delivery.headers_mut().insert(name, value);
    }
    let response = send(site.gateway.address(), delivery).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT, "{}", site.logs());
    let line = format!("delivery evt_2 {SENDER} https");
    site.wait_for_app(&line).await;
}
