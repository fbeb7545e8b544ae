//! `hookgate reload`: succeeds only if the gateway runs the new configuration.

use std::process::{Command, Output};

use hookgate_tests::{Gateway, Upstream, binary, get_admin_with};
use http::StatusCode;

use super::{NEW, OLD, gateway, new, old, status};

/// Runs the command for the file of `gateway`.
pub(crate) fn reload(gateway: &Gateway, file: &std::path::Path) -> Output {
    reload_at(&gateway.admin().to_string(), file)
}

fn reload_at(admin: &str, file: &std::path::Path) -> Output {
    Command::new(binary())
        .arg("reload")
        .arg("--config")
        .arg(file)
        .arg("--admin")
        .arg(format!("http://{admin}"))
        .envs([("OLD", OLD), ("NEW", NEW)])
        .output()
        .expect("the command runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_new_configuration_counts_when_the_command_has_ended() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::UNAUTHORIZED
    );
    gateway.edit_config("env:OLD", "env:NEW");
    let output = reload(&gateway, &gateway.config_path());
    assert!(output.status.success(), "{}", stderr(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("configuration reloaded"), "{stdout}");
    assert_eq!(
        status(&gateway, &new(), "evt_2").await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        status(&gateway, &old(), "evt_3").await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn the_command_fails_with_the_reason_if_the_gateway_keeps_its_configuration() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let file = gateway.config_path();
    let good = std::fs::read_to_string(&file).expect("the file is readable");

    gateway.edit_config("provider = \"beatapi\"", "provider = \"beatapy\"");
    let output = reload(&gateway, &file);
    assert_eq!(output.status.code(), Some(78));
    let error = stderr(&output);
    assert!(
        error.contains("still runs the previous configuration"),
        "{error}"
    );
    assert!(error.contains("source beatapi: provider"), "{error}");

    // `hookgate check` accepts this file. Only the running gateway knows that it cannot change.
    super::write(
        &file,
        &good.replace("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.2:0\"]"),
    );
    let output = reload(&gateway, &file);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("refused the configuration"), "{error}");
    assert!(
        error.contains("server.listen: it changed; restart"),
        "{error}"
    );

    let folder = super::folder();
    let other = folder.path().join("other.toml");
    super::write(&other, &good);
    let output = reload(&gateway, &other);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("this gateway runs "), "{error}");

    super::write(&file, &good);
    assert!(reload(&gateway, &file).status.success());
    assert_eq!(
        status(&gateway, &old(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

/// The gateway refuses names that it does not know. A short form of an address is such a name.
#[tokio::test]
async fn the_command_reaches_the_gateway_by_any_name() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let name = format!("127.1:{}", gateway.admin().port());
    let output = reload_at(&name, &gateway.config_path());
    assert!(output.status.success(), "{}", stderr(&output));
    // The control: a browser sends the name.
    let head = format!("POST /reload HTTP/1.1\r\nhost: {name}\r\n");
    let response = get_admin_with(gateway.admin(), &head).await;
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
}

#[tokio::test]
async fn the_command_fails_without_a_gateway() {
    let upstream = Upstream::start().await;
    let mut gateway = gateway(&upstream, "\"env:OLD\"");
    gateway.signal("TERM");
    gateway.wait_for_exit().await;
    let output = reload(&gateway, &gateway.config_path());
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("is the gateway running"), "{error}");
}

#[tokio::test]
async fn another_website_cannot_reload() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    let before = gateway.reloads().await;
    let admin = gateway.admin();
    for (head, expected) in [
        ("POST /reload HTTP/1.1\r\nhost: evil.example\r\n", "403"),
        (
            "POST /reload HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n",
            "403",
        ),
        ("GET /reload HTTP/1.1\r\nhost: localhost\r\n", "405"),
        (
            "POST /reload?other=1 HTTP/1.1\r\nhost: localhost\r\n",
            "400",
        ),
    ] {
        let response = get_admin_with(admin, head).await;
        let status = response.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, expected, "{head}: {response}");
    }
    assert_eq!(gateway.reloads().await, before);
    // The control: a tool may reload.
    let response = get_admin_with(admin, "POST /reload HTTP/1.1\r\nhost: localhost\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(gateway.reloads().await[0], before[0] + 1);
}
