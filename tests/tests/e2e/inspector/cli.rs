//! `hookgate events list`, `show` and `tail` against a real gateway.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use hookgate_tests::{Gateway, TestProvider, Upstream, binary, now, send};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::{OPS, SUPPORT, deliver, deliver_forged, deliveries, start};

/// Returns the command `hookgate events` for a gateway, with the token that may act.
pub(super) fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    api_command(gateway, "events", arguments)
}

/// Returns a command that uses the API of a gateway, with the token that may act.
pub(crate) fn api_command(gateway: &Gateway, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    let admin = format!("http://{}", gateway.admin());
    command
        .arg(name)
        .args(arguments)
        .args(["--token", "env:TOKEN", "--admin", &admin])
        .env("TOKEN", OPS)
        .env_remove("COLUMNS");
    command
}

/// Runs `hookgate events` with the token that may act.
pub(crate) fn events(gateway: &Gateway, arguments: &[&str]) -> Output {
    run(command(gateway, arguments))
}

/// Runs `hookgate events` with the token that may only read.
pub(super) fn events_as_reader(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = command(gateway, arguments);
    command.env("TOKEN", SUPPORT);
    run(command)
}

fn run(mut command: Command) -> Output {
    command.output().expect("the command runs")
}

/// Returns standard output followed by standard error.
pub(crate) fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(all).expect("the output is UTF-8")
}

/// Returns the output of a command that succeeds.
#[track_caller]
pub(crate) fn success(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(output));
    text(output)
}

/// Returns the output of a command that fails with exit code 1.
#[track_caller]
pub(crate) fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_each_delivery_and_its_filters_work() {
    let (gateway, _upstream) = start("").await;
    // A record may arrive after the record of a later request, so each one is awaited.
    for count in [1, 2] {
        deliver(&gateway, "evt_1").await;
        deliveries(&gateway, "", count).await;
    }
    deliver_forged(&gateway, "evt_2").await;
    let records = deliveries(&gateway, "", 3).await;

    let list = success(&events(&gateway, &["list"]));
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 5, "{list}");
    assert!(
        lines[0].starts_with("time     outcome   code source"),
        "{list}"
    );
    for (line, outcome) in lines[1..4]
        .iter()
        .zip(["refused", "duplicate", "forwarded"])
    {
        assert_eq!(line.split_whitespace().nth(1), Some(outcome), "{list}");
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(lines[1].contains(" 401  beatapi "), "{list}");
    assert!(lines[3].contains(" 204  beatapi evt_1 "), "{list}");
    assert!(lines[4].starts_with("times are in UTC, on 20"), "{list}");
    let id = records[0]["request_id"].as_str().expect("the id is a text");
    assert!(lines[1].ends_with(&id[24..]), "{list}");

    for (filter, count) in [
        (&["--outcome", "forwarded"][..], 1),
        (
            &["--reason", "signature_mismatch", "--source", "beatapi"],
            1,
        ),
        (&["--search", "EVT_1"], 2),
        (&["--limit", "2"], 2),
        (&["--before", &records[1]["seq"].to_string()], 1),
    ] {
        let arguments = [&["list", "--json"], filter].concat();
        let list = success(&events(&gateway, &arguments));
        let list: Value = serde_json::from_str(&list).expect("the output is JSON");
        assert_eq!(
            list["deliveries"].as_array().map(Vec::len),
            Some(count),
            "{filter:?}"
        );
    }
    let page = success(&events(&gateway, &["list", "--limit", "1"]));
    assert!(
        page.contains("older ones: the same command with --before "),
        "{page}"
    );

    let nothing = failure(&events(&gateway, &["list", "--search", "evt_404"]));
    assert!(
        nothing.starts_with("hookgate: not among the records since 20"),
        "{nothing}"
    );
    assert!(nothing.ends_with(" UTC\n"), "{nothing}");
    // JSON says so too.
    let nothing = failure(&events(
        &gateway,
        &["list", "--search", "evt_404", "--json"],
    ));
    let nothing: Value = serde_json::from_str(&nothing).expect("the output is JSON");
    assert!(nothing["message"].is_string(), "{nothing}");
}

/// Sends a delivery of GitHub, with an unsigned delivery id.
async fn deliver_github(gateway: &Gateway, delivery_id: &str, signature: &str) -> StatusCode {
    let request = Request::post("/hooks/github")
        .header("host", "hooks.example")
        .header("x-hub-signature-256", signature)
        .header("x-github-delivery", delivery_id)
        .body(
            Full::new("{}".into())
                .map_err(|never| match never {})
                .boxed(),
        );
    let request = request.expect("the request is valid");
    send(gateway.address(), request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_by_each_of_its_ids() {
    let upstream = Upstream::start().await;
    let github = "[[sources]]\nname = \"github\"\npath = \"/hooks/github\"\nprovider = \"github\"\n\
                  secrets = [\"env:GITHUB_SECRET\"]\nupstream = \"app\"\n";
    let gateway = super::with_inspector(Gateway::builder(upstream.address()), "")
        .table(github)
        .env("GITHUB_SECRET", "secret-of-the-tests")
        .start();
    deliver(&gateway, "evt_1").await;
    deliver(&gateway, "evt_12").await;
    deliveries(&gateway, "", 2).await;
    let forged = format!("sha256={}", "0".repeat(64));
    let status = deliver_github(&gateway, "d9c1f3a0-ee1f-11ee", &forged).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let records = deliveries(&gateway, "", 3).await;
    assert_eq!(records[0]["outcome"], "refused");
    let request_id = records[0]["request_id"].as_str().expect("the id is a text");

    let shown = success(&events(&gateway, &["show", "evt_1"]));
    for line in [
        "\nevent           evt_1",
        "\nsource          beatapi, provider beatapi\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(
        shown.contains("\noutcome         forwarded, status 204\n"),
        "{shown}"
    );
    assert!(shown.contains("\ntimeline: "), "{shown}");
    for id in ["d9c1f3a0-ee1f-11ee", request_id, &request_id[24..]] {
        let shown = success(&events(&gateway, &["show", id]));
        let start = format!("request         {request_id}\n");
        assert!(shown.starts_with(&start), "{id}\n{shown}");
        assert!(
            shown.contains("\ndelivery id     d9c1f3a0-ee1f-11ee, which"),
            "{shown}"
        );
        assert!(
            shown.contains("refused: signature_mismatch, status 401\n"),
            "{shown}"
        );
    }
    // A part of several ids lists them.
    let several = success(&events(&gateway, &["show", "evt"]));
    assert!(
        several.starts_with("2 deliveries; `hookgate events show REQUEST`"),
        "{several}"
    );
    assert!(several.contains(" evt_12 "), "{several}");

    let object = success(&events(&gateway, &["show", "evt_1", "--json"]));
    let object: Value = serde_json::from_str(&object).expect("the output is JSON");
    assert_eq!(object["delivery"]["event_id"], "evt_1");

    let unknown = failure(&events(&gateway, &["show", "evt_404"]));
    assert!(
        unknown.starts_with("hookgate: not among the records since 20"),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_to_do() {
    let (gateway, _upstream) = start("").await;
    let mut wrong = command(&gateway, &["list"]);
    wrong.env("TOKEN", "canary-token-of-nobody");
    let wrong = failure(&run(wrong));
    assert!(
        wrong.contains("the gateway refused the token (status 401)"),
        "{wrong}"
    );
    assert!(
        wrong.contains("check that --token names a token of [inspector]"),
        "{wrong}"
    );
    assert!(!wrong.contains("canary"), "{wrong}");

    // A token on the command line is refused, and not repeated.
    let admin = format!("http://{}", gateway.admin());
    let literal = Command::new(binary())
        .args([
            "events",
            "list",
            "--token",
            "canary-token",
            "--admin",
            &admin,
        ])
        .output()
        .expect("the command runs");
    let literal = failure(&literal);
    assert!(
        literal.contains("--token: expected env:NAME or file:PATH"),
        "{literal}"
    );
    assert!(!literal.contains("canary"), "{literal}");

    let plain = Gateway::builder(gateway.address()).start();
    let none = failure(&events(&plain, &["list"]));
    assert!(none.contains("has no inspector API"), "{none}");
    assert!(
        none.contains("has the gateway a table [inspector]"),
        "{none}"
    );

    // Wrong options exit with 2, as those of every command.
    let usage = events(&gateway, &["show"]);
    assert_eq!(usage.status.code(), Some(2), "{}", text(&usage));

    for _ in 0..12 {
        let mut wrong = command(&gateway, &["list"]);
        wrong.env("TOKEN", format!("a-wrong-token-{:?}", now()));
        run(wrong);
    }
    let mut flood = command(&gateway, &["list"]);
    flood.env("TOKEN", "one-more-wrong-token");
    let flood = failure(&run(flood));
    assert!(
        flood.contains("too many wrong tokens from this address"),
        "{flood}"
    );
    assert!(flood.contains("; try again in "), "{flood}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_of_a_sender_do_nothing_in_a_terminal() {
    let (gateway, _upstream) = start("").await;
    let hostile = "\u{1b}[2J\u{202e}\u{9b}31m\u{200b}\r\nforwarded";
    let provider = TestProvider::named("beatapi");
    // The sender of the first delivery has the secret.
    let body = json!({ "id": "evt_1", "type": hostile, "event": hostile }).to_string();
    let headers = provider.sign(body.as_bytes(), now(), "evt_1");
    let mut requests = [
        provider.request(headers, body.into()),
        provider.delivery("evt_2"),
    ];
    requests[1].headers_mut().remove("x-beatapi-signature");
    for (index, mut request) in requests.into_iter().enumerate() {
        let agent = http::HeaderValue::from_bytes(b"agent\xc2\x9b2J\xe2\x80\xae\xff");
        let agent = agent.expect("the value is a header value");
        for name in ["user-agent", "content-type"] {
            request.headers_mut().insert(name, agent.clone());
        }
        send(gateway.address(), request).await;
        deliveries(&gateway, "", index + 1).await;
    }
    let records = deliveries(&gateway, "", 2).await;
    let ids = records.iter().map(|record| record["request_id"].as_str());
    let ids: Vec<&str> = ids.map(|id| id.expect("the id is a text")).collect();
    // The control: the API has the raw text.
    let agent = records[0]["user_agent"]
        .as_str()
        .expect("the record has the agent");
    assert!(agent.starts_with("agent\u{9b}2J\u{202e}"), "{agent:?}");
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["show", ids[0]],
        &["show", ids[1]],
        &["show", ids[1], "--json"],
        &["list", "--search", hostile],
        &["show", hostile],
        &["resend", hostile],
        &["forget", "--source", hostile, "--event", hostile],
    ] {
        let output = text(&events(&gateway, arguments));
        let is_hidden =
            |c: &char| (c.is_control() && *c != '\n') || matches!(c, '\u{200b}' | '\u{202e}');
        assert_eq!(
            output.chars().find(is_hidden),
            None,
            "{arguments:?} {output:?}"
        );
    }
    let shown = success(&events(&gateway, &["show", ids[0]]));
    assert!(shown.contains(", agent\\u{9b}2J\\u{202e}"), "{shown}");
}

/// Runs a command in a terminal with 50 columns, and prints its output.
const TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 50, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    try:
        sys.stdout.buffer.write(os.read(terminal, 4096))
    except OSError:
        break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[tokio::test(flavor = "multi_thread")]
async fn only_a_terminal_gets_colours_and_its_width_counts() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_1PqRsTuVwXyZ0123456789").await;
    deliveries(&gateway, "", 1).await;
    let in_terminal = |variables: &[(&str, &str)]| {
        let list = command(&gateway, &["list"]);
        let mut python = Command::new("python3");
        python
            .args(["-c", TERMINAL])
            .arg(list.get_program())
            .args(list.get_args());
        python
            .env_remove("COLUMNS")
            .env_remove("NO_COLOR")
            .env("TERM", "xterm");
        python.env("TOKEN", OPS).envs(variables.iter().copied());
        success(&run(python)).replace('\r', "")
    };
    for (variables, has_colours) in [
        (&[][..], true),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let list = in_terminal(variables);
        let colour = "\u{1b}[32mforwarded\u{1b}[0m";
        assert_eq!(list.contains(colour), has_colours, "{variables:?} {list:?}");
        assert_eq!(
            list.contains('\u{1b}'),
            has_colours,
            "{variables:?} {list:?}"
        );
    }
    let row = |list: &str| list.lines().nth(1).map(|row| row.chars().count());
    let narrow = in_terminal(&[("NO_COLOR", "1")]);
    assert_eq!(row(&narrow), Some(50), "{narrow}");
    assert!(narrow.contains(" evt_1PqR… "), "{narrow}");
    let narrow = in_terminal(&[("NO_COLOR", "1"), ("COLUMNS", "40")]);
    assert_eq!(row(&narrow), Some(40), "{narrow}");
    // A pipe has 80 columns.
    let pipe = success(&events(&gateway, &["list"]));
    assert!(
        row(&pipe).is_some_and(|width| (50..=80).contains(&width)),
        "{pipe}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_deliveries_as_they_arrive() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_1").await;
    deliveries(&gateway, "", 1).await;
    let mut tail = command(&gateway, &["tail", "--source", "beatapi"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let output = tail.stdout.take().expect("the stream is piped");
    let mut lines = BufReader::new(output).lines();
    let mut next = move || lines.next().expect("a line").expect("the line is UTF-8");
    assert!(next().starts_with("time     outcome"));
    assert!(next().contains(" evt_1 "));
    for id in ["evt_2", "evt_3"] {
        deliver(&gateway, id).await;
        let line = next();
        assert!(line.contains(&format!(" {id} ")), "{line}");
    }
    // Other sources are left out.
    let other = TestProvider::named("videogen");
    send(gateway.address(), other.delivery("msg_other")).await;
    deliver_forged(&gateway, "evt_4").await;
    let line = next();
    assert!(line.contains(" refused     401  beatapi "), "{line}");
    let interrupted = Command::new("kill")
        .args(["-s", "INT", &tail.id().to_string()])
        .status();
    assert!(interrupted.expect("`kill` is installed").success());
    assert_eq!(tail.wait().expect("the process is a child").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_tail_may_be_closed() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_1").await;
    deliveries(&gateway, "", 1).await;
    let pipe = "set -o pipefail; timeout 60 \"$@\" | head -n 2";
    let tail = command(&gateway, &["tail"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", pipe, "bash"]).arg(tail.get_program());
    shell.args(tail.get_args()).env("TOKEN", OPS);
    let output = success(&run(shell));
    assert_eq!(output.lines().count(), 2, "{output}");
}
