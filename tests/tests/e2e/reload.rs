//! The configuration is read anew while the gateway runs: what was taken out stops at
//! once, what is bad changes nothing, and nothing is forgotten.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_tests::{Behaviour, Gateway, Provided, Upstream, now, send};
use http::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OLD: &str = "whsec_5f0c8a6de2b94a13";
const NEW: &str = "whsec_77aa12bd90ce4f28";

fn old() -> Provided {
    Provided::named("beatapi").with_secret(OLD)
}

fn new() -> Provided {
    Provided::named("beatapi").with_secret(NEW)
}

/// A source whose secrets are these.
fn source(secrets: &str) -> String {
    format!(
        "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
         upstream = \"app\"\nsecrets = [{secrets}]\n"
    )
}

fn gateway(upstream: &Upstream, secrets: &str) -> Gateway {
    Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .env("NEW", NEW)
        .table(&source(secrets))
        .start_bare()
}

async fn status(gateway: &Gateway, provided: &Provided, id: &str) -> StatusCode {
    send(gateway.address(), provided.delivery(id)).await.status
}

#[tokio::test]
async fn a_key_that_is_taken_out_stops_at_once_and_one_that_is_let_in_counts() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    assert_eq!(
        status(&gateway, &old(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        status(&gateway, &new(), "evt_2").await,
        StatusCode::UNAUTHORIZED
    );
    gateway.edit("env:OLD", "env:NEW");
    assert!(gateway.reload().await);
    assert_eq!(
        status(&gateway, &old(), "evt_3").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status(&gateway, &new(), "evt_4").await,
        StatusCode::NO_CONTENT
    );
    // What was delivered before is still known.
    let again = send(gateway.address(), new().delivery("evt_1")).await;
    assert_eq!(again.outcome(), Some("duplicate"));
    assert_eq!(upstream.take().len(), 2);
}

/// How a file comes to have other contents.
#[derive(Clone, Copy, Debug)]
enum Change {
    Written,
    Replaced,
    /// As Kubernetes does it: the file is a link through a folder that is a link.
    Relinked,
}

impl Change {
    /// Puts the first contents of `name` into `folder`.
    fn prepare(self, folder: &Path, name: &str, text: &str) {
        match self {
            Self::Written | Self::Replaced => write(&folder.join(name), text),
            Self::Relinked => {
                fs::create_dir(folder.join("first")).expect("a folder");
                write(&folder.join("first").join(name), text);
                symlink("first", folder.join("data")).expect("a link");
                symlink(Path::new("data").join(name), folder.join(name)).expect("a link");
            }
        }
    }

    fn change(self, folder: &Path, name: &str, text: &str) {
        let aside = folder.join("aside");
        match self {
            Self::Written => write(&folder.join(name), text),
            Self::Replaced => {
                write(&aside, text);
                fs::rename(aside, folder.join(name)).expect("it can be replaced");
            }
            Self::Relinked => {
                fs::create_dir(folder.join("second")).expect("a folder");
                write(&folder.join("second").join(name), text);
                symlink("second", &aside).expect("a link");
                fs::rename(aside, folder.join("data")).expect("it can be replaced");
            }
        }
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("it can be written");
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_secret_that_changes_in_its_file_is_noticed_however_it_changes() {
    for change in [Change::Written, Change::Replaced, Change::Relinked] {
        let folder = folder();
        change.prepare(folder.path(), "secret", OLD);
        let upstream = Upstream::start().await;
        let file = folder.path().join("secret");
        let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
        assert_eq!(
            status(&gateway, &old(), "evt_1").await,
            StatusCode::NO_CONTENT
        );
        let before = gateway.reloads().await;
        // Of the same length: nothing but the contents tells.
        change.change(folder.path(), "secret", NEW);
        assert!(gateway.reloaded_since(before).await, "{change:?}");
        assert_eq!(
            status(&gateway, &old(), "evt_2").await,
            StatusCode::UNAUTHORIZED,
            "{change:?}"
        );
        assert_eq!(
            status(&gateway, &new(), "evt_2").await,
            StatusCode::NO_CONTENT,
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn a_configuration_that_changes_in_its_file_is_noticed_without_a_signal() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let before = gateway.reloads().await;
    gateway.edit("env:OLD", "env:NEW");
    assert!(gateway.reloaded_since(before).await);
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_says_why() {
    let upstream = Upstream::start().await;
    let folder = folder();
    let late = folder.path().join("late");
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let late_secret = format!("file:{}", late.display());
    for (from, to, said) in [
        ("env:OLD", "env:NOBODY_SET_THIS", "NOBODY_SET_THIS"),
        (
            "env:NOBODY_SET_THIS",
            "env:OLD\", \"whsec_inline",
            "expected env:NAME or file:PATH",
        ),
        ("env:OLD\", \"whsec_inline", "env:OLD\"]]", "not TOML"),
        ("env:OLD\"]]", &late_secret, "cannot read"),
    ] {
        gateway.edit(from, to);
        assert!(!gateway.reload().await, "{to}");
        gateway.says(said).await;
        assert!(gateway.ask("/healthz").await.starts_with("HTTP/1.1 200"));
        assert_eq!(
            status(&gateway, &old(), &format!("evt_{to}")).await,
            StatusCode::NO_CONTENT
        );
    }
    // The file that was missing comes, and nobody has to say so.
    let before = gateway.reloads().await;
    write(&late, NEW);
    assert!(gateway.reloaded_since(before).await);
    assert_eq!(
        status(&gateway, &new(), "evt_late").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn what_cannot_change_at_run_time_is_said_and_nothing_changes() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    for (from, to, key) in [
        (
            "listen = [\"127.0.0.1:0\"]",
            "listen = [\"127.0.0.1:1\"]",
            "server.listen",
        ),
        (
            "admin = \"127.0.0.1:0\"",
            "admin = \"127.0.0.1:1\"",
            "server.admin",
        ),
        (
            "access_log = \"stderr\"",
            "access_log = \"off\"",
            "server.access_log",
        ),
        (
            "access_log = \"stderr\"",
            "access_log = \"stderr\"\nproxy_protocol = [\"127.0.0.1\"]",
            "server.proxy_protocol",
        ),
        ("boot_fence = false", "boot_fence = true", "replay"),
        (
            "boot_fence = false",
            "boot_fence = false\nmax_entries = 10",
            "replay",
        ),
    ] {
        gateway.edit(from, to);
        gateway.edit("env:OLD", "env:NEW");
        assert!(!gateway.reload().await, "{key}");
        gateway.says(key).await;
        gateway.edit(to, from);
        gateway.edit("env:NEW", "env:OLD");
    }
    // Neither has the other half been put into force.
    assert_eq!(
        status(&gateway, &old(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

/// A delivery of which half of the body is under way, and the other half.
async fn half_a_delivery(gateway: &Gateway, provided: &Provided, id: &str) -> (TcpStream, Vec<u8>) {
    let body = provided.body(id);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n",
        provided.path(),
        body.len()
    );
    for (name, value) in &provided.sign(&body, now(), id) {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    head.push_str("\r\n");
    let (first, rest) = body.split_at(body.len() / 2);
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    // Only a head that is good is told to go on.
    let leave = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut told = [0; 25];
    stream.read_exact(&mut told).await.expect("an answer");
    assert_eq!(&told, leave);
    stream.write_all(first).await.expect("it reads");
    (stream, rest.to_vec())
}

async fn the_rest(half: (TcpStream, Vec<u8>)) -> String {
    let (mut stream, rest) = half;
    stream.write_all(&rest).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_delivery_whose_body_is_under_way_is_checked_by_the_keys_of_when_it_is_whole() {
    // What the key file holds by then, and what becomes of a delivery signed with OLD.
    for (by_then, forwarded) in [(OLD, true), (NEW, false)] {
        let folder = folder();
        let file = folder.path().join("secret");
        write(&file, OLD);
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
        let half = half_a_delivery(&gateway, &old(), "evt_1").await;
        write(&file, by_then);
        assert!(gateway.reload().await);
        let answer = the_rest(half).await;
        if forwarded {
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        } else {
            // Told to come again, because a reload came between: its next try is
            // refused for good.
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert_eq!(
                status(&gateway, &old(), "evt_1").await,
                StatusCode::UNAUTHORIZED
            );
        }
        assert_eq!(upstream.take().len(), usize::from(forwarded), "{by_then}");
    }
}

#[tokio::test]
async fn a_delivery_under_way_whose_key_is_let_in_meanwhile_is_not_lost() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
    let half = half_a_delivery(&gateway, &new(), "evt_1").await;
    write(&file, NEW);
    assert!(gateway.reload().await);
    let answer = the_rest(half).await;
    // It was begun with the keys of before. 401 might be the end of it.
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after"), "{answer}");
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_delivery_that_waits_for_another_is_checked_once_more_before_it_is_forwarded() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = Arc::new(gateway(&upstream, &format!("\"file:{}\"", file.display())));
    let deliver = || {
        let (gateway, old) = (Arc::clone(&gateway), old());
        tokio::spawn(async move { send(gateway.address(), old.delivery("evt_1")).await.status })
    };
    let moment = Duration::from_secs(2);
    upstream.next(Behaviour::After(moment, StatusCode::INTERNAL_SERVER_ERROR));
    let first = deliver();
    while upstream.take().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = deliver();
    // It is behind the first one once its key has matched.
    while !metric_is(&gateway, "hookgate_key_matches_total", 2).await {}
    write(&file, NEW);
    assert!(gateway.reload().await);
    // The first was forwarded before, and fails; the second would take its place.
    assert_eq!(
        first.await.expect("no panic"),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        second.await.expect("no panic"),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(upstream.take().len(), 0);
}

async fn metric_is(gateway: &Gateway, name: &str, value: u64) -> bool {
    let metrics = gateway.ask("/metrics").await;
    metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .any(|line| line.ends_with(&format!(" {value}")))
}

#[tokio::test]
async fn in_the_gap_of_a_rotation_a_wrong_signature_is_told_to_come_again() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    gateway.edit("secrets = [", "mismatch_status = 503\nsecrets = [");
    assert!(gateway.reload().await);
    // The provider has changed its secret, and we have not yet.
    let told = send(gateway.address(), new().delivery("evt_1")).await;
    assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(told.headers.contains_key("retry-after"));
    // What is stale, and so no news of a secret, is not asked for again.
    let body = new().body("evt_2");
    let stale = new().sign(&body, now().minus(Duration::from_secs(3600)), "evt_2");
    let told = send(gateway.address(), new().request(stale, body)).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED);
    gateway.edit("\"env:OLD\"", "\"env:NEW\"");
    assert!(gateway.reload().await);
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn keys_count_in_their_time_and_metrics_say_which_matched() {
    let folder = folder();
    let clock = folder.path().join("clock");
    let start = UnixTime::from_secs(1_784_187_600);
    let at = |second: u64| start.plus(Duration::from_secs(second));
    let set = |second| write(&clock, &at(second).secs().to_string());
    set(0);
    let upstream = Upstream::start().await;
    let keys = "{ from = \"env:OLD\", id = \"old\", not_after = \"2026-07-16T07:41:40Z\" }, \
                { from = \"env:NEW\", id = \"new\", not_before = \"2026-07-16T07:40:50Z\" }";
    let gateway = Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .env("NEW", NEW)
        .env("HOOKGATE_TEST_CLOCK", &clock.display().to_string())
        .table(&source(keys))
        .start_bare();
    for (second, old_counts, new_counts) in [(0, true, false), (75, true, true), (150, false, true)]
    {
        set(second);
        for (provided, name, counts) in [(old(), "old", old_counts), (new(), "new", new_counts)] {
            let id = format!("evt_{name}_{second}");
            let body = provided.body(&id);
            let headers = provided.sign(&body, at(second), &id);
            let reply = send(gateway.address(), provided.request(headers, body)).await;
            let expected = match counts {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(reply.status, expected, "{id}");
        }
    }
    let metrics = gateway.ask("/metrics").await;
    for key in ["old", "new"] {
        let line = format!("hookgate_key_matches_total{{key=\"{key}\",source=\"beatapi\"}} 2");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

/// An upstream that answers 204 to all, and counts connections.
async fn counting_upstream() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let mut seen = Vec::new();
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..read]);
                    // The bodies here end like this, and nothing else does.
                    if seen.ends_with(b"}") {
                        seen.clear();
                        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    }
                }
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn connections_to_an_upstream_that_has_not_changed_survive_and_others_do_not() {
    let (address, connections) = counting_upstream().await;
    let gateway = Gateway::builder(address)
        .env("OLD", OLD)
        .upstream("timeout = \"8s\"")
        .table(&source("\"env:OLD\""))
        .start_bare();
    for (edit, expected) in [
        (None, 1),
        (
            Some(("secrets = [", "duplicate_wait = \"4s\"\nsecrets = [")),
            1,
        ),
        (Some(("timeout = \"8s\"", "timeout = \"7s\"")), 2),
    ] {
        if let Some((from, to)) = edit {
            gateway.edit(from, to);
            assert!(gateway.reload().await);
        }
        let id = format!("evt_{edit:?}").replace(['"', '\\', '\n'], "");
        assert_eq!(status(&gateway, &old(), &id).await, StatusCode::NO_CONTENT);
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{edit:?}");
    }
}
