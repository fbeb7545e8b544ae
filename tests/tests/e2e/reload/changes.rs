//! Changes that a reload applies or rejects: changed files, configurations with errors, settings
//! that need a restart, and upstream connections.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hookgate_tests::{Gateway, Upstream};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{NEW, OLD, folder, gateway, new, old, source, status, write};

/// A way to change the contents of a file.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Written in place.
    Overwritten,
    /// Replaced by a rename, as editors do.
    Renamed,
    /// Kubernetes volumes: the file is a link through a linked folder, and that link changes.
    Relinked,
}

impl Change {
    /// Creates the file `name` in `folder` with the contents `text`. For [`Change::Relinked`],
    /// the file is a link through a linked folder.
    fn prepare(self, folder: &Path, name: &str, text: &str) {
        match self {
            Self::Overwritten | Self::Renamed => write(&folder.join(name), text),
            Self::Relinked => {
                fs::create_dir(folder.join("first")).expect("the temporary folder is created");
                write(&folder.join("first").join(name), text);
                symlink("first", folder.join("data")).expect("the link is created");
                symlink(Path::new("data").join(name), folder.join(name))
                    .expect("the link is created");
            }
        }
    }

    /// Changes the contents of the file `name` in `folder` to `text`, in the way that `self`
    /// names. [`Change::prepare`] must have created the file.
    fn change(self, folder: &Path, name: &str, text: &str) {
        let aside = folder.join("aside");
        match self {
            Self::Overwritten => write(&folder.join(name), text),
            Self::Renamed => {
                write(&aside, text);
                fs::rename(aside, folder.join(name)).expect("the file is replaced");
            }
            Self::Relinked => {
                fs::create_dir(folder.join("second")).expect("the temporary folder is created");
                write(&folder.join("second").join(name), text);
                symlink("second", &aside).expect("the link is created");
                fs::rename(aside, folder.join("data")).expect("the file is replaced");
            }
        }
    }
}

#[tokio::test]
async fn every_way_to_change_a_secret_file_triggers_a_reload() {
    for change in [Change::Overwritten, Change::Renamed, Change::Relinked] {
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
        // The new secret has the same length, so only the contents differ.
        change.change(folder.path(), "secret", NEW);
        assert!(gateway.wait_for_reload(before).await, "{change:?}");
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
async fn a_changed_configuration_file_is_reloaded_without_a_signal() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let before = gateway.reloads().await;
    gateway.edit_config("env:OLD", "env:NEW");
    assert!(gateway.wait_for_reload(before).await);
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing_and_its_errors_are_logged() {
    let upstream = Upstream::start().await;
    let folder = folder();
    let late = folder.path().join("late");
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let late_secret = format!("file:{}", late.display());
    for (from, to, error) in [
        ("env:OLD", "env:UNSET_VARIABLE", "UNSET_VARIABLE"),
        (
            "env:UNSET_VARIABLE",
            "env:OLD\", \"whsec_inline",
            "expected env:NAME or file:PATH",
        ),
        ("env:OLD\", \"whsec_inline", "env:OLD\"]]", "not TOML"),
        ("env:OLD\"]]", &late_secret, "cannot read"),
    ] {
        gateway.edit_config(from, to);
        assert!(!gateway.reload().await, "{to}");
        gateway.wait_for_log(error).await;
        assert!(
            gateway
                .get_admin("/healthz")
                .await
                .starts_with("HTTP/1.1 200")
        );
        assert_eq!(
            status(&gateway, &old(), &format!("evt_{to}")).await,
            StatusCode::NO_CONTENT
        );
    }
    // The missing file appears, and the gateway reloads without a signal.
    let before = gateway.reloads().await;
    write(&late, NEW);
    assert!(gateway.wait_for_reload(before).await);
    assert_eq!(
        status(&gateway, &new(), "evt_late").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn settings_that_need_a_restart_are_logged_and_nothing_changes() {
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
        (
            "access_log = \"stderr\"",
            "access_log = \"stderr\"\ntrusted_proxies = [\"127.0.0.1\"]",
            "server.trusted_proxies",
        ),
        ("boot_fence = false", "boot_fence = true", "replay"),
        (
            "boot_fence = false",
            "boot_fence = false\nmax_entries = 10",
            "replay",
        ),
    ] {
        gateway.edit_config(from, to);
        gateway.edit_config("env:OLD", "env:NEW");
        assert!(!gateway.reload().await, "{key}");
        gateway.wait_for_log(key).await;
        gateway.edit_config(to, from);
        gateway.edit_config("env:NEW", "env:OLD");
    }
    // The rest of the rejected configuration, the new secret, is not in force either.
    assert_eq!(
        status(&gateway, &old(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

/// Starts an upstream that responds 204 to every request and counts connections.
async fn counting_upstream() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("the listener accepts");
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let mut seen = Vec::new();
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    seen.extend_from_slice(&buffer[..read]);
                    // In these tests only a body ends with a brace.
                    if seen.ends_with(b"}") {
                        seen.clear();
                        let response = b"HTTP/1.1 204 No Content\r\n\r\n";
                        let _ = stream.write_all(response).await;
                    }
                }
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_reload_keeps_connections_to_an_unchanged_upstream_and_closes_others() {
    let (address, connections) = counting_upstream().await;
    let gateway = Gateway::builder(address)
        .env("OLD", OLD)
        .upstream("timeout = \"8s\"\nidle_timeout = \"120s\"")
        .table(&source("\"env:OLD\""))
        .start_without_default_sources();
    for (edit, expected) in [
        (None, 1),
        (
            Some(("secrets = [", "duplicate_wait = \"4s\"\nsecrets = [")),
            1,
        ),
        (Some(("timeout = \"8s\"", "timeout = \"7s\"")), 2),
    ] {
        if let Some((from, to)) = edit {
            gateway.edit_config(from, to);
            assert!(gateway.reload().await);
        }
        let id = format!("evt_{edit:?}").replace(['"', '\\', '\n'], "");
        assert_eq!(status(&gateway, &old(), &id).await, StatusCode::NO_CONTENT);
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{edit:?}");
    }
}
