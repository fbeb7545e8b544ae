//! `hookgate send`: new deliveries, and captured ones.

use hookgate_tests::{Gateway, SECRETS, Upstream};

use super::{Folder, send_signed, text};

#[tokio::test(flavor = "multi_thread")]
async fn send_delivers_a_signed_body() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    for (provider, secret) in SECRETS {
        let to = format!("http://{}/hooks/{provider}", gateway.address());
        let send = |secret| send_signed(provider, secret, &to, &["--repeat", "2"]);
        let output = send(secret);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "204 No Content\n200 OK (duplicate)\n");
        assert_eq!(upstream.take_received().len(), 1);
        let wrong = send("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM=");
        assert!(!wrong.status.success());
        assert!(
            text(&wrong).starts_with("401 Unauthorized"),
            "{}",
            text(&wrong)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_signs_a_captured_delivery_anew() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let (provider, secret) = SECRETS[0];
    let to = format!("http://{}/hooks/{provider}", gateway.address());
    let folder = Folder::new();
    let body = "{\"id\": \"evt_7\"}\n";
    let capture = folder.write(
        "capture",
        format!(
            "POST /old?x=1 HTTP/1.1\r\nHost: old.example\r\nContent-Length: 9999\r\n\
             Content-Type: text/json\r\nX-Kind: sold\r\nX-BeatAPI-Signature: stale\r\n\r\n{body}"
        ),
    );
    let send = |options: &[&str]| send_signed(provider, secret, &to, options);
    let output = send(&["--capture", &capture]);
    assert_eq!(text(&output), "204 No Content\n");
    let received = upstream.take_received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body, body);
    assert_eq!(received[0].headers["content-type"], "text/json");
    assert_eq!(received[0].headers["x-kind"], "sold");
    assert_eq!(received[0].headers["hookgate-event-id"], "evt_7");

    let output = send(&["--capture", &capture, "--body", &capture]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("cannot be used with"),
        "{}",
        text(&output)
    );
}
