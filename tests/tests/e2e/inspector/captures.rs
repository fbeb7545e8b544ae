//! The captured part of a request, its redaction, and the files on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use hookgate_tests::{
    DeadUpstream, Gateway, Protocol, ReceivedResponse, TestProvider, Upstream, binary, now,
    raw_request, send, send_over, send_raw,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{ApiCall, deliver, deliver_forged, deliveries, start, with_inspector};

/// Returns the detail view of the newest of `count` deliveries.
async fn newest(gateway: &Gateway, count: usize) -> Value {
    let listed = deliveries(gateway, "", count).await;
    detail(gateway, &listed[0]).await
}

async fn detail(gateway: &Gateway, record: &Value) -> Value {
    let id = record["request_id"].as_str().expect("an id");
    let detail = ApiCall::get(&format!("/api/deliveries/{id}"));
    detail.json(gateway).await
}

/// Downloads the body of a captured delivery.
async fn body(gateway: &Gateway, detail: &Value) -> Bytes {
    let id = detail["delivery"]["request_id"].as_str().expect("an id");
    let download = ApiCall::get(&format!("/api/deliveries/{id}/body"));
    download.send(gateway).await.body
}

/// Returns a body of about `len` bytes with the event `id`.
fn body_of(id: &str, len: usize) -> Bytes {
    let data = "x".repeat(len);
    format!(r#"{{"id":"{id}","event":"test","data":"{data}"}}"#).into()
}

/// Returns a delivery of `body` with the signature of `signed`. Its length is not declared if
/// `is_chunked`.
fn delivery(
    signed: &[u8],
    body: &Bytes,
    is_chunked: bool,
) -> Request<BoxBody<Bytes, std::io::Error>> {
    let provider = TestProvider::named("beatapi");
    let headers = provider.sign(signed, now(), "evt");
    let mut request = provider.request(headers, body.clone());
    if is_chunked {
        let chunks: Vec<_> = body
            .chunks(5000)
            .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        *request.body_mut() = StreamBody::new(stream::iter(chunks)).boxed();
    }
    request
}

#[tokio::test]
async fn bodies_of_every_size_and_protocol_are_captured_exactly() {
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).server("h2c = true");
    let gateway = with_inspector(builder, "capture = \"all\"").start();
    let mut count = 0;
    for len in [10, 70_000, 900_000] {
        for (protocol, is_chunked) in [
            (Protocol::Http1, false),
            (Protocol::Http1, true),
            (Protocol::Http2, false),
        ] {
            for is_genuine in [true, false] {
                let id = format!("evt_{count}");
                let sent = body_of(&id, len);
                let signed = if is_genuine { &sent[..] } else { b"{}" };
                let mut request = delivery(signed, &sent, is_chunked);
                request.headers_mut().append("x-tag", "a".parse().unwrap());
                request.headers_mut().append("x-tag", "b".parse().unwrap());
                let name = format!("{protocol:?} {is_chunked} {len} {is_genuine}");
                let sending = send_over(&protocol, gateway.address(), request);
                let response = sending.await.expect("the gateway responds");
                let expected = if is_genuine { 204 } else { 401 };
                assert_eq!(response.status.as_u16(), expected, "{name} {response:?}");
                count += 1;
                let detail = newest(&gateway, count).await;
                let capture = &detail["capture"];
                assert_eq!(capture["complete"], true, "{name} {capture}");
                assert_eq!(capture["redacted"], false, "{name}");
                assert_eq!(capture["body"]["bytes"], sent.len(), "{name}");
                assert_eq!(capture["target"], "/hooks/beatapi", "{name}");
                let headers = capture["headers"].as_array().expect("headers");
                let tags = headers.iter().filter(|header| header[0] == "x-tag").count();
                assert_eq!(tags, 2, "{name} {headers:?}");
                assert!(headers.iter().any(|header| header[0] == "host"), "{name}");
                let shown = capture["body"]["base64"].as_str().expect("base64");
                assert!(sent.starts_with(&STANDARD.decode(shown).unwrap()), "{name}");
                assert!(body(&gateway, &detail).await == sent, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_scope_of_a_source_decides_what_is_captured() {
    for (scope, expected) in [
        ("none", [false, false, false]),
        ("refused", [false, true, true]),
        ("all", [true, true, true]),
    ] {
        let scope = format!("capture = \"{scope}\"");
        let (gateway, _upstream) = start(&scope).await;
        deliver(&gateway, "evt_1").await;
        deliveries(&gateway, "", 1).await;
        deliver_forged(&gateway, "evt_2").await;
        let mut listed = deliveries(&gateway, "", 2).await;
        listed.reverse();
        let closed = DeadUpstream::new();
        let failing = with_inspector(Gateway::builder(closed.address()), &scope).start();
        deliver(&failing, "evt_3").await;
        listed.extend(deliveries(&failing, "", 1).await);
        let outcomes: Vec<_> = listed.iter().map(|record| &record["outcome"]).collect();
        assert_eq!(outcomes, ["forwarded", "refused", "failed"]);
        let captured: Vec<_> = listed
            .iter()
            .map(|record| record["capture"] == "complete")
            .collect();
        assert_eq!(captured, expected, "{scope}");
    }
}

/// Sends a delivery whose body has a line feed that was not signed.
async fn deliver_with_line_feed(gateway: &Gateway, id: &str) -> ReceivedResponse {
    let provider = TestProvider::named("beatapi");
    let body = provider.body(id);
    let headers = provider.sign(&body, now(), id);
    let changed = [&body[..], b"\n"].concat();
    send(gateway.address(), provider.request(headers, changed.into())).await
}

#[tokio::test]
async fn a_refused_delivery_on_disk_is_explained_as_the_inspector_does() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("captures");
    let (gateway, _upstream) =
        start(&format!("capture = \"refused\"\ncapture_dir = {dir:?}")).await;
    assert_eq!(
        deliver_with_line_feed(&gateway, "evt_1").await.status,
        StatusCode::UNAUTHORIZED
    );
    let detail = newest(&gateway, 1).await;
    let id = detail["delivery"]["request_id"].as_str().expect("an id");
    let explained = ApiCall::get(&format!("/api/deliveries/{id}/explanation"));
    let explained = explained.json(&gateway).await;
    assert_eq!(explained["verified"], false);
    assert_eq!(explained["causes"][0]["proved"], true, "{explained}");
    let capture = only_capture(&dir, id).await;
    let output = Command::new(binary())
        .args(["verify", "--explain", "--json", "--source", "beatapi", "-c"])
        .arg(gateway.config_path())
        .arg("--capture")
        .arg(&capture)
        .env("SECRET_0", TestProvider::named("beatapi").secret)
        .output()
        .expect("the command runs");
    let from_file: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(from_file, explained);
    // The command of the API gives the same explanation.
    let detail = newest(&gateway, 1).await;
    let command = detail["verify_command"].as_str().expect("a command");
    assert!(command.contains(capture.to_str().unwrap()), "{command}");
    let command = command.replacen("hookgate", binary().to_str().unwrap(), 1);
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("SECRET_0", TestProvider::named("beatapi").secret)
        .output()
        .expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("cause (proved)"), "{text}");
    // The control: the delivery without the line feed verifies.
    fs::write(
        capture.join("body"),
        TestProvider::named("beatapi").body("evt_1"),
    )
    .unwrap();
    let control = CaptureOf {
        gateway: &gateway,
        path: &capture,
    };
    assert!(control.verifies());
}

/// A capture on disk, with the gateway that wrote it.
struct CaptureOf<'g> {
    gateway: &'g Gateway,
    path: &'g Path,
}

impl CaptureOf<'_> {
    fn verifies(&self) -> bool {
        let verified = Command::new(binary())
            .args(["verify", "--source", "beatapi", "-c"])
            .arg(self.gateway.config_path())
            .arg("--capture")
            .arg(self.path)
            .env("SECRET_0", TestProvider::named("beatapi").secret)
            .status();
        verified.expect("the command runs").success()
    }
}

/// Waits for the capture of the request `id`, and checks that it is the only one.
async fn only_capture(dir: &Path, id: &str) -> PathBuf {
    let start = Instant::now();
    loop {
        let folders = fs::read_dir(dir).into_iter().flatten();
        let folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
        if let [folder] = &folders[..]
            && folder.join("meta.json").exists()
        {
            assert!(
                folder.to_string_lossy().ends_with(&format!("Z-{id}")),
                "{folder:?}"
            );
            return folder.clone();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{folders:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_request_that_is_only_observed_is_captured_and_explained() {
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).every_source("mode = \"observe\"");
    let gateway = with_inspector(builder, "capture = \"refused\"").start();
    let response = deliver_with_line_feed(&gateway, "evt_1").await;
    assert_eq!(response.status, StatusCode::NO_CONTENT);
    let observed = newest(&gateway, 1).await;
    assert_eq!(observed["delivery"]["outcome"], "observed_refused");
    assert_eq!(observed["delivery"]["capture"], "complete");
    let sent = TestProvider::named("beatapi").body("evt_1");
    assert_eq!(body(&gateway, &observed).await, [&sent[..], b"\n"].concat());
    let id = observed["delivery"]["request_id"].as_str().expect("an id");
    let explained = ApiCall::get(&format!("/api/deliveries/{id}/explanation"));
    assert_eq!(explained.json(&gateway).await["causes"][0]["proved"], true);
    // The control: a genuine delivery is not captured.
    deliver(&gateway, "evt_2").await;
    assert!(newest(&gateway, 2).await["delivery"]["capture"].is_null());
}

#[tokio::test]
async fn a_request_that_its_head_refuses_is_captured_with_its_body() {
    let (gateway, _upstream) = start("capture = \"refused\"").await;
    for (count, len) in [(1, 100), (2, 200_000)] {
        let provider = TestProvider::named("beatapi");
        let sent = body_of("evt_1", len);
        let request = provider.request(HeaderMap::new(), sent.clone());
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        let detail = newest(&gateway, count).await;
        assert_eq!(detail["delivery"]["reason"], "signature_missing");
        assert_eq!(detail["delivery"]["capture"], "complete", "{detail}");
        assert!(body(&gateway, &detail).await == sent, "{len}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_incomplete_is_captured_in_part() {
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).every_source("body = \"1KiB\"");
    let gateway = with_inspector(builder, "capture = \"refused\"").start();
    let large = body_of("evt_1", 5000);
    for (is_chunked, count) in [(false, 1), (true, 2)] {
        let response = send(gateway.address(), delivery(&large, &large, is_chunked)).await;
        assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
        // A record may come after that of a later request.
        deliveries(&gateway, "", count).await;
    }
    let provider = TestProvider::named("beatapi");
    let short = provider.body("evt_2");
    let raw = raw_request(
        &provider.path(),
        &provider.sign(&short, now(), "evt_2"),
        &short,
    );
    send_half(&gateway, &raw[..raw.len() - 5]).await;
    let listed = deliveries(&gateway, "", 3).await;
    for (record, reason) in
        listed
            .iter()
            .zip(["body_incomplete", "body_too_large", "body_too_large"])
    {
        assert_eq!(record["reason"], reason);
        assert_eq!(record["capture"], "partial", "{record}");
        let detail = detail(&gateway, record).await;
        assert_eq!(detail["capture"]["complete"], false);
        assert!(body(&gateway, &detail).await.len() <= 1024);
        assert_eq!(detail["can_resend"], false, "{detail}");
    }
    let part = detail(&gateway, &listed[0]).await;
    assert_eq!(body(&gateway, &part).await, short[..short.len() - 5]);
}

/// Sends a part of a request, and closes the sending side.
async fn send_half(gateway: &Gateway, bytes: &[u8]) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stream = tokio::net::TcpStream::connect(gateway.address()).await;
    let mut stream = stream.expect("the gateway listens");
    stream.write_all(bytes).await.expect("the gateway reads");
    stream.shutdown().await.expect("the gateway is connected");
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
}

#[tokio::test]
async fn no_token_reaches_the_api_a_file_or_the_log() {
    const TOKEN: &str = "canary-gitlab-token-0123456789";
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("captures");
    let upstream = Upstream::start().await;
    let source = "[[sources]]\nname = \"gitlab\"\npath = \"/gitlab\"\nprovider = \"gitlab\"\n\
                  variant = \"token\"\nsecrets = [\"env:GITLAB\"]\nupstream = \"app\"";
    let gateway = with_inspector(
        Gateway::builder(upstream.address()),
        &format!(
            "capture = \"all\"\ncapture_dir = {dir:?}\nredact = [\"/card/number\", \"x-own\"]"
        ),
    )
    .table(source)
    .env("GITLAB", TOKEN)
    .start_without_default_sources();
    let wrong = "canary-other-token-9876543210";
    for (count, token) in [(1, TOKEN), (2, wrong)] {
        let sent = r#"{"object_kind":"push","card":{"number":"canary-4242424242"}, "a" : 1}"#;
        let request = Request::post("/gitlab?x=1")
            .header("host", "hooks.example")
            .header("content-type", "application/json")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", token)
            .header("x-own", "canary-own-header")
            .header("user-agent", format!("agent/{token}"))
            .body(
                Full::new(Bytes::from(sent))
                    .map_err(|never| match never {})
                    .boxed(),
            )
            .unwrap();
        send(gateway.address(), request).await;
        let detail = newest(&gateway, count).await;
        assert_eq!(detail["delivery"]["capture"], "redacted", "{detail}");
        let redactions = detail["capture"]["redactions"].to_string();
        for part in ["header x-gitlab-token", "header x-own", "body /card/number"] {
            assert!(redactions.contains(part), "{redactions}");
        }
        let body = body(&gateway, &detail).await;
        assert_eq!(
            body,
            r#"{"object_kind":"push","card":{"number":"[redacted]"}, "a" : 1}"#
        );
    }
    let listed = deliveries(&gateway, "", 2).await;
    let id = listed[0]["request_id"].as_str().expect("an id");
    assert_eq!(listed[0]["outcome"], "refused");
    let explanation = explanation_at_arrival(&gateway, id).await;
    assert_eq!(explanation["verified"], false, "{explanation}");
    let download = ApiCall::get(&format!("/api/deliveries/{id}/capture"));
    let download = download.send(&gateway).await;
    let mut shown = format!(
        "{listed:?} {explanation} {} {}",
        String::from_utf8_lossy(&download.body),
        gateway.log()
    );
    while fs::read_dir(&dir).unwrap().count() < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    for entry in fs::read_dir(&dir).unwrap() {
        for file in fs::read_dir(entry.unwrap().path()).unwrap() {
            shown.push_str(&fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    assert!(
        shown.contains("push"),
        "the control: the rest of the request is there"
    );
    // The access log has the user agent, which a sender should not fill with its token.
    let without_log = shown.replace(&gateway.log(), "");
    assert!(!without_log.contains("canary"), "{without_log}");
}

/// Waits for the explanation of a redacted delivery.
async fn explanation_at_arrival(gateway: &Gateway, id: &str) -> Value {
    let call = ApiCall::get(&format!("/api/deliveries/{id}/explanation"));
    let start = Instant::now();
    loop {
        let response = call.send(gateway).await;
        let json: Value = serde_json::from_slice(&response.body).expect("JSON");
        if response.status == StatusCode::OK {
            return json;
        }
        let detail = json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("being made"), "{json}");
        assert!(start.elapsed() < Duration::from_secs(30), "{json}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_harms_no_delivery_and_recovers() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("captures");
    let (gateway, _upstream) = start(&format!("capture = \"all\"\ncapture_dir = {dir:?}")).await;
    fs::remove_dir(&dir).unwrap();
    fs::write(&dir, "in the way").unwrap();
    for count in 1..=3 {
        let response = deliver(&gateway, &format!("evt_{count}")).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
        let detail = newest(&gateway, count).await;
        assert_eq!(detail["delivery"]["capture"], "complete");
    }
    gateway.wait_for_log("capture_dir").await;
    let warnings = gateway
        .log()
        .matches("check `inspector.capture_dir`")
        .count();
    assert_eq!(warnings, 1, "one warning a minute");
    fs::remove_file(&dir).unwrap();
    deliver(&gateway, "evt_4").await;
    let detail = newest(&gateway, 4).await;
    let id = detail["delivery"]["request_id"].as_str().expect("an id");
    only_capture(&dir, id).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named_at_the_start() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n\
         [upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\
         [inspector]\ntoken = \"env:SECRET\"\ncapture_dir = {file:?}\n\
         [[sources]]\nname = \"a\"\npath = \"/a\"\nprovider = \"github\"\n\
         secrets = [\"env:SECRET\"]\nupstream = \"app\""
    );
    let path = folder.path().join("gateway.toml");
    fs::write(&path, config).unwrap();
    let output = Command::new(binary())
        .args(["run", "-c"])
        .arg(&path)
        .env("SECRET", "a-secret-of-the-tests-0123456789")
        .output()
        .expect("the command runs");
    assert!(!output.status.success());
    let log = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "inspector.capture_dir: cannot write to the folder {}",
        file.display()
    );
    assert!(log.contains(&expected), "{log}");
}

#[tokio::test]
async fn forged_requests_do_not_push_out_a_genuine_capture() {
    let (gateway, _upstream) = start("capture = \"all\"\ncapture_bytes = \"256KiB\"").await;
    deliver(&gateway, "evt_1").await;
    let genuine = deliveries(&gateway, "", 1).await.remove(0);
    let provider = TestProvider::named("beatapi");
    let body = body_of("evt_2", 4000);
    let raw = raw_request(&provider.path(), &provider.sign(b"{}", now(), ""), &body);
    for sent in 1..=50 {
        send_raw(gateway.address(), &raw, Duration::ZERO).await;
        // A capture that is not stored yet holds its memory, so a fast flood would not be captured.
        deliveries(&gateway, "limit=100", sent + 1).await;
    }
    let listed = deliveries(&gateway, "limit=100", 51).await;
    let kept = |record: &Value| record["capture"] == "complete";
    let oldest = listed.last().unwrap();
    assert_eq!(oldest["request_id"], genuine["request_id"]);
    assert!(kept(oldest), "{oldest}");
    // The control: the oldest forged captures have gone.
    assert!(kept(&listed[0]) && !listed[..50].iter().all(kept));
}
