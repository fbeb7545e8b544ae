//! The access log in a file: its creation, its rotation, and a file that cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, GatewayBuilder, TestProvider, Upstream, get_admin_with, send};
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::configuration::{VALID, run_on};
use crate::reload::command::reload;
use crate::reload::{OLD, old, source, status};

/// A folder for a log and for its renamed files.
struct LogFolder(TempDir);

impl LogFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("the temporary folder is created"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("access.log")
    }

    /// Creates a gateway that writes its access log to this folder.
    fn gateway(&self, upstream: &Upstream) -> GatewayBuilder {
        let setting = format!("access_log = \"file:{}\"", self.log().display());
        Gateway::builder(upstream.address()).server(&setting)
    }
}

async fn deliver(gateway: &Gateway, id: &str) {
    let delivery = TestProvider::named("beatapi").delivery(id);
    let response = send(gateway.address(), delivery).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
}

/// Waits until `condition` holds.
async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until `file` has `text` and ends with a whole line.
async fn wait_for_text(file: &Path, text: &str) {
    let has_text = || {
        fs::read_to_string(file).is_ok_and(|found| found.contains(text) && found.ends_with('\n'))
    };
    wait_until(text, has_text).await;
}

/// Returns the event ids of a log. Each line must be whole.
fn events(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("the log is readable");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}"));
        line["event_id"].as_str().unwrap_or_default().to_owned()
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn a_file_is_created_for_its_group_and_a_restart_appends_to_it() {
    let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
    for (id, mode, expected) in [
        ("evt_1", 0o640, &["evt_1"][..]),
        // A restart keeps the lines, and the mode that the operator has set meanwhile.
        ("evt_2", 0o600, &["evt_1", "evt_2"]),
    ] {
        let mut gateway = folder.gateway(&upstream).shell_prefix("umask 077").start();
        deliver(&gateway, id).await;
        gateway.signal("TERM");
        gateway.wait_for_exit().await;
        assert_eq!(events(&folder.log()), expected);
        let permissions = fs::metadata(folder.log())
            .expect("the log exists")
            .permissions();
        assert_eq!(permissions.mode() & 0o777, mode);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.log(), private).expect("the mode is set");
    }
}

/// Reads the configuration from standard input.
const FROM_STANDARD_INPUT: &str = "exec < \"$1\"; set -- -";

/// logrotate renames the file and sends SIGHUP.
#[tokio::test]
async fn a_rotation_under_load_loses_no_line_and_tears_none() {
    const SENDERS: usize = 4;
    for prefix in ["true", FROM_STANDARD_INPUT] {
        let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
        let mut gateway = folder.gateway(&upstream).shell_prefix(prefix).start();
        let (over, mut senders) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for sender in 0..SENDERS {
            let (address, over) = (gateway.address(), Arc::clone(&over));
            senders.spawn(async move {
                let mut number = 0_usize;
                while !over.load(Ordering::SeqCst) {
                    let id = format!("evt_{sender}_{number}");
                    let delivery = TestProvider::named("beatapi").delivery(&id);
                    let response = send(address, delivery).await;
                    assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
                    number += 1;
                }
                number
            });
        }
        let mut files = Vec::new();
        for number in 0..5 {
            let log = folder.log();
            let has_lines = || fs::metadata(&log).is_ok_and(|log| log.len() > 0);
            wait_until("the log has lines", has_lines).await;
            let renamed = folder.path(&format!("access.log.{number}"));
            fs::rename(&log, &renamed).expect("the log is renamed");
            gateway.signal("HUP");
            wait_until("the log is opened anew", || log.exists()).await;
            files.push(renamed);
        }
        over.store(true, Ordering::SeqCst);
        let delivered: usize = senders.join_all().await.into_iter().sum();
        let failed = gateway
            .counter("hookgate_config_reloads_total{result=\"failure\"}")
            .await;
        assert_eq!(failed, 0, "{prefix}");
        gateway.signal("TERM");
        gateway.wait_for_exit().await;
        files.push(folder.log());
        let mut found = BTreeMap::new();
        for file in &files {
            for event in events(file) {
                *found.entry(event).or_insert(0) += 1;
            }
        }
        assert_eq!(found.len(), delivered, "{prefix}");
        assert!(found.values().all(|lines| *lines == 1), "{prefix}");
    }
}

#[tokio::test]
async fn the_file_is_opened_anew_on_request_only_and_a_failure_keeps_the_old_one() {
    let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
    let gateway = folder.gateway(&upstream).start();
    let (log, renamed) = (folder.log(), folder.path("access.log.1"));
    deliver(&gateway, "evt_1").await;
    wait_for_text(&log, "evt_1").await;
    fs::rename(&log, &renamed).expect("the log is renamed");
    // The control: without a signal, the renamed file gets the lines.
    deliver(&gateway, "evt_2").await;
    wait_for_text(&renamed, "evt_2").await;
    assert!(!log.exists());
    // A folder has the path of the log, so that it cannot be opened.
    fs::create_dir(&log).expect("the folder is created");
    gateway.signal("HUP");
    gateway.wait_for_log("cannot reopen the access log").await;
    deliver(&gateway, "evt_3").await;
    wait_for_text(&renamed, "evt_3").await;
    // The next line repeats the attempt, without another signal.
    fs::remove_dir(&log).expect("the folder is empty");
    deliver(&gateway, "evt_4").await;
    wait_for_text(&log, "evt_4").await;
    assert_eq!(events(&renamed), ["evt_1", "evt_2", "evt_3"]);
    assert_eq!(
        gateway
            .log()
            .matches("cannot reopen the access log")
            .count(),
        1
    );
}

/// Each request of an operator to reload opens the file anew, also if the gateway refuses the new
/// configuration.
#[tokio::test]
async fn a_reload_by_command_opens_the_file_anew() {
    let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
    let builder = folder.gateway(&upstream).env("OLD", OLD);
    let builder = builder.table(&source("\"env:OLD\""));
    let gateway = builder.start_without_default_sources();
    let deliver = async |id: &str| {
        let status = status(&gateway, &old(), id).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{id}");
    };
    let (log, renamed) = (folder.log(), folder.path("access.log.1"));
    deliver("evt_1").await;
    wait_for_text(&log, "evt_1").await;
    fs::rename(&log, &renamed).expect("the log is renamed");
    let output = reload(&gateway, &gateway.config_path());
    assert!(output.status.success(), "{output:?}");
    deliver("evt_2").await;
    wait_for_text(&log, "evt_2").await;
    assert_eq!(events(&renamed), ["evt_1"]);

    let again = folder.path("access.log.2");
    fs::rename(&log, &again).expect("the log is renamed");
    gateway.edit_config("provider = \"beatapi\"", "provider = \"beatapy\"");
    let request = "POST /reload HTTP/1.1\r\nhost: localhost\r\n";
    let response = get_admin_with(gateway.admin(), request).await;
    assert!(response.starts_with("HTTP/1.1 422"), "{response}");
    deliver("evt_3").await;
    wait_for_text(&log, "evt_3").await;
    assert_eq!(events(&again), ["evt_2"]);
}

#[tokio::test]
async fn a_full_disk_drops_lines_and_no_delivery_and_ends_by_itself() {
    let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
    // Writes beyond 8 KiB fail, as they do on a full disk.
    let gateway = folder
        .gateway(&upstream)
        .shell_prefix("trap '' XFSZ; ulimit -f 8")
        .start();
    let mut sent = 0_u64;
    while gateway.counter("hookgate_log_lines_dropped_total").await < 20 {
        deliver(&gateway, &format!("evt_{sent}")).await;
        sent += 1;
        assert!(sent < 2000, "the file should be full");
    }
    let log = gateway.log();
    assert_eq!(
        log.matches("cannot write the access log").count(),
        1,
        "{log}"
    );
    // The writer still works on the last lines. It counts a line as dropped after it has removed
    // the start of the line from the file.
    let is_accounted_for = async || {
        let dropped = gateway.counter("hookgate_log_lines_dropped_total").await;
        let log = fs::read(folder.log()).expect("the log is readable");
        let written = log.iter().filter(|byte| **byte == b'\n').count();
        written as u64 + dropped == sent
    };
    let start = Instant::now();
    while !is_accounted_for().await {
        assert!(start.elapsed() < Duration::from_secs(60), "{sent} lines");
    }
    // A line that is a few bytes shorter than its predecessor may still fit.
    let written = events(&folder.log());
    let number = |id: &String| id.trim_start_matches("evt_").parse::<u64>().ok();
    let numbers: Vec<_> = written.iter().filter_map(number).collect();
    assert_eq!(numbers.len(), written.len(), "{written:?}");
    assert!(numbers.starts_with(&[0, 1, 2, 3, 4, 5]), "{written:?}");
    assert!(numbers.is_sorted_by(|one, next| one < next), "{written:?}");

    // The operator makes space.
    fs::write(folder.log(), "").expect("the log is emptied");
    deliver(&gateway, "evt_after").await;
    wait_for_text(&folder.log(), "evt_after").await;
    gateway.wait_for_log("access log written again").await;
    events(&folder.log());
}

#[tokio::test]
async fn an_upgrade_continues_the_file() {
    let (folder, upstream) = (LogFolder::new(), Upstream::start().await);
    let socket = folder.path("upgrade.sock");
    let setting = format!("upgrade_socket = {:?}", socket.display().to_string());
    let mut gateway = folder.gateway(&upstream).server(&setting).start();
    deliver(&gateway, "evt_1").await;
    let successor = gateway.successor();
    gateway.wait_for_exit().await;
    deliver(&successor, "evt_2").await;
    wait_for_text(&folder.log(), "evt_2").await;
    assert_eq!(events(&folder.log()), ["evt_1", "evt_2"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let folder = LogFolder::new();
    fs::write(folder.path("file"), "").expect("the file is written");
    let pipe = folder.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is installed").success());
    for (path, cause) in [
        ("missing/access.log", "No such file or directory"),
        ("file/access.log", "Not a directory"),
        ("", "Is a directory"),
        ("pipe", "named pipe"),
    ] {
        let path = folder.path(path).display().to_string();
        let setting = format!("[server]\naccess_log = \"file:{path}\"");
        let config = VALID.replacen("[server]", &setting, 1);
        let (exit, output) = run_on("run", &config);
        assert_eq!(exit, Some(78), "{output}");
        for expected in ["server.access_log: ", &path, cause] {
            assert!(output.contains(expected), "{expected}: {output}");
        }
    }
}

#[test]
fn check_shows_the_file_and_warns_of_a_missing_folder() {
    let folder = LogFolder::new();
    let check = |path: &Path| {
        let setting = format!("[server]\naccess_log = \"file:{}\"", path.display());
        run_on("check", &VALID.replacen("[server]", &setting, 1))
    };
    let (exit, output) = check(&folder.log());
    assert_eq!(exit, Some(0), "{output}");
    let line = format!(
        "access log {}, opened anew on SIGHUP and by `hookgate reload`",
        folder.log().display()
    );
    assert!(output.contains(&line), "{output}");
    assert!(!output.contains("server.access_log"), "{output}");
    assert!(!folder.log().exists(), "check creates no file");
    let (exit, output) = check(&folder.path("missing/access.log"));
    assert_eq!(exit, Some(0), "{output}");
    assert!(
        output.contains("warning    server.access_log: "),
        "{output}"
    );

    let (exit, output) = run_on(
        "check",
        &VALID.replacen("[server]", "[server]\naccess_log = \"file:\"", 1),
    );
    assert_eq!(exit, Some(78), "{output}");
    assert!(output.contains("\"file:PATH\""), "{output}");
}
