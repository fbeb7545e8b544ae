//! The source of a request by its query, and the path that the upstream gets.

use hookgate_tests::{
    Gateway, ReceivedRequest, TestProvider, Upstream, exchange, now, raw_request,
};
use tokio::net::TcpStream;

const SECRETS: [&str; 2] = ["whsec_5f0c8a6de2b94a13", "whsec_77aa12bd90ce4f28"];

/// Returns a source of BeatAPI at the path `/`.
fn source(number: usize, lines: &str) -> String {
    format!(
        "[[sources]]\nname = \"shop{number}\"\npath = \"/\"\nprovider = \"beatapi\"\n\
         secrets = [\"env:SECRET_{number}\"]\nupstream = \"app\"\n{lines}\n"
    )
}

/// Sends a delivery that is signed with a secret. Returns the status of the response.
async fn status(gateway: &Gateway, secret: usize, target: &str, id: &str) -> String {
    let provider = TestProvider::named("beatapi").with_secret(SECRETS[secret]);
    let body = provider.body(id);
    let request = raw_request(target, &provider.sign(&body, now(), id), &body);
    let stream = TcpStream::connect(gateway.address()).await;
    let response = exchange(&mut stream.expect("the gateway listens"), &request).await;
    response.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Returns the source and the target of each request.
fn arrived(received: &[ReceivedRequest]) -> Vec<(String, String)> {
    let source = |request: &ReceivedRequest| {
        let name = request.headers["hookgate-source"].to_str().expect("text");
        (name.to_owned(), request.path.clone())
    };
    received.iter().map(source).collect()
}

#[tokio::test]
async fn a_query_selects_the_source_of_a_shared_path() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .env("SECRET_0", SECRETS[0])
        .env("SECRET_1", SECRETS[1])
        .table(&source(0, "query = { \"wc-api\" = \"WC_A\" }"))
        .table(&source(
            1,
            "query = { \"wc-api\" = \"WC_B\", lang = \"en us\" }\nupstream_path = \"/b\"",
        ))
        .start_without_default_sources();
    let too_long = format!("/?wc-api=WC_A{}", "&x=1".repeat(256));
    for (secret, target, expected) in [
        (0, "/?wc-api=WC_A", "204"),
        (1, "/?lang=en+us&wc-api=WC_B&x=1", "204"),
        // The source decides about the secret.
        (1, "/?wc-api=WC_A", "401"),
        (0, "/", "404"),
        (0, "/?wc-api=WC_C", "404"),
        (1, "/?wc-api=WC_B", "404"),
        (0, "/?wc-api=WC_A&wc-api=WC_A", "404"),
        (0, "/?wc-api=WC_A&wc-api=WC_B&lang=en+us", "404"),
        (0, "/?WC-API=WC_A", "404"),
        (0, &*too_long, "404"),
    ] {
        let status = status(&gateway, secret, target, &format!("evt_{target}")).await;
        assert_eq!(status, expected, "{target}");
    }
    let arrived = arrived(&upstream.take_received());
    let expected = [
        ("shop0", "/?wc-api=WC_A"),
        ("shop1", "/b?lang=en+us&wc-api=WC_B&x=1"),
    ];
    let expected = expected.map(|(name, path)| (name.to_owned(), path.to_owned()));
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn the_upstream_gets_its_own_path_over_either_version_of_http() {
    for (protocol, upstream) in [
        ("http1", Upstream::start().await),
        ("h2c", Upstream::start_grpc().await.0),
    ] {
        let gateway = Gateway::builder(upstream.address())
            .env("SECRET_0", SECRETS[0])
            .upstream(&format!("protocol = {protocol:?}"))
            .table(&source(0, "upstream_path = \"/github\""))
            .start_without_default_sources();
        for (target, id) in [("/", "evt_1"), ("/?a=%20b&a", "evt_2")] {
            assert_eq!(status(&gateway, 0, target, id).await, "204", "{protocol}");
        }
        let received = upstream.take_received();
        let paths: Vec<&str> = received
            .iter()
            .map(|request| request.path.trim_start_matches("http://hooks.example"))
            .collect();
        assert_eq!(paths, ["/github", "/github?a=%20b&a"], "{protocol}");
        // The log shows the path of the sender.
        let lines = gateway.wait_for_access_log(2).await;
        assert_eq!(lines[0]["path"], "/", "{protocol}");
    }
}
