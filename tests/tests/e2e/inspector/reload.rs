//! `POST /reload` with an inspector: only an operator's token gets the details, and a flood without a
//! token is limited.

use std::process::{Command, Output};
use std::time::Instant;

use hookgate_tests::{Gateway, Upstream, binary, get_admin_with};

use super::{OPS, SUPPORT, with_inspector};
use crate::reload::{OLD, source};

fn start(upstream: &Upstream) -> Gateway {
    let gateway = Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .table(&source("\"env:OLD\""));
    with_inspector(gateway, "").start_without_default_sources()
}

/// Posts to `/reload` with a token. Returns the status and the body.
async fn post(gateway: &Gateway, query: &str, token: Option<&str>) -> (u16, String) {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    let head = format!("POST /reload{query} HTTP/1.1\r\nHost: localhost\r\n{token}");
    let response = get_admin_with(gateway.admin(), &head).await;
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Runs `hookgate reload` for the file of `gateway`.
fn command(gateway: &Gateway, options: &[&str]) -> Output {
    Command::new(binary())
        .args(["reload", "--config"])
        .arg(gateway.config_path())
        .args(options)
        .envs([("OLD", OLD), ("OPS_TOKEN", OPS), ("SUPPORT_TOKEN", SUPPORT)])
        .output()
        .expect("the command runs")
}

#[tokio::test]
async fn the_details_of_a_reload_need_the_token_of_an_operator() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream);
    gateway.edit_config("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.2:0\"]");
    let own = gateway.config_path().display().to_string();
    let mistake = "server.listen";

    let (status, body) = post(&gateway, "", Some(OPS)).await;
    assert_eq!(status, 422, "{body}");
    assert!(body.contains(mistake), "{body}");
    let (status, body) = post(&gateway, "?file=/other.toml", Some(OPS)).await;
    assert_eq!(status, 409, "{body}");
    assert!(body.contains(&own), "{body}");

    let (status, body) = post(&gateway, "", None).await;
    assert_eq!(status, 422, "{body}");
    assert!(!body.contains(mistake), "{body}");
    assert!(body.contains("the log of the gateway"), "{body}");
    let (status, body) = post(&gateway, "?file=/other.toml", None).await;
    assert_eq!(status, 409, "{body}");
    assert!(!body.contains(&own), "{body}");

    let before = gateway.reloads().await;
    assert_eq!(post(&gateway, "", Some(SUPPORT)).await.0, 403);
    assert_eq!(
        post(&gateway, "", Some("a-wrong-token-0123456789")).await.0,
        401
    );
    assert_eq!(gateway.reloads().await, before);

    let text = |output: &Output| String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    let admin = format!("http://{}", gateway.admin());
    let output = command(&gateway, &["--admin", &admin, "--token", "env:OPS_TOKEN"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(mistake), "{}", text(&output));
    // The token of the file goes to no other address than that of the file.
    let output = command(&gateway, &["--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output).contains(mistake), "{}", text(&output));
    assert!(
        text(&output).contains("the log of the"),
        "{}",
        text(&output)
    );
    let address = format!("admin = \"{}\"", gateway.admin());
    gateway.edit_config("admin = \"127.0.0.1:0\"", &address);
    let output = command(&gateway, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(mistake), "{}", text(&output));
}

#[tokio::test]
async fn a_flood_of_reloads_without_a_token_is_limited() {
    let upstream = Upstream::start().await;
    let gateway = start(&upstream);
    let started = Instant::now();
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(post(&gateway, "", None).await.0);
    }
    let passed = statuses.iter().filter(|&&status| status == 200).count() as u64;
    // A burst of 10, and one for each second.
    let most = 11 + started.elapsed().as_secs();
    assert!((10..=most).contains(&passed), "{passed}: {statuses:?}");
    assert!(most >= 60 || statuses.contains(&429), "{statuses:?}");
    assert_eq!(gateway.reloads().await, [passed, 0]);

    // Neither an operator's token nor a signal is limited, and the command waits.
    assert_eq!(post(&gateway, "", Some(OPS)).await.0, 200);
    assert!(gateway.reload().await, "{}", gateway.log());
    let admin = format!("http://{}", gateway.admin());
    let output = command(&gateway, &["--admin", &admin]);
    assert!(output.status.success(), "{output:?}");
}
