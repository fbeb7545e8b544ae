//! The output of `list`, `show` and `tail`. Hostile values do nothing, and lines fit the width.

use hookgate_core::UnixTime;
use serde_json::{Value, json};

use crate::cli::events::delivery::{Delivery, Detail, Explanation, List};
use crate::cli::events::list::write_list;
use crate::cli::events::rows::Rows;
use crate::cli::events::show::Page;
use crate::cli::terminal::printable_tests::{HOSTILE, is_safe};
use crate::cli::terminal::{Colours, printable, width};

/// Returns a delivery of the API in which every text is `text`.
fn hostile_delivery(text: &str) -> Value {
    let mut delivery = json!({
        "seq": 7, "status": 401, "attempt": 2, "content_length": 10, "body_bytes": 12,
        "age_s": -400, "verify_us": 35, "claim_us": 2, "upstream_us": 12_000, "total_us": 12_345,
    });
    for name in [
        "request_id",
        "time",
        "outcome",
        "reason",
        "source",
        "tenant",
        "provider",
        "upstream",
        "server",
        "method",
        "path",
        "event_id",
        "event_type",
        "delivery_id",
        "key_id",
        "client",
        "user_agent",
        "content_type",
        "signed_headers",
        "resent_by",
        "resent_from",
        "capture",
    ] {
        delivery[name] = text.into();
    }
    delivery
}

fn hostile_detail(text: &str) -> Value {
    json!({
        "delivery": hostile_delivery(text),
        "capture": {
            "method": text, "target": text, "headers": [[text, text], ["x-a", text]],
            "body": { "base64": "eyJhIjoxfQ==", "bytes": 7, "shown": 7 },
            "redacted": true, "redactions": [text], "complete": true, "expires": text,
        },
        "verify_command": text,
        "can_resend": false, "cannot_resend_because": text,
        "can_forget": false, "cannot_forget_because": text,
    })
}

fn hostile_explanation(text: &str) -> Value {
    json!({
        "verified": false, "reason": text, "detail": text,
        "causes": [{ "code": text, "proved": true, "summary": text, "fix": text }],
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the value has the form of the API")
}

fn page(detail: &Value, explanation: Option<&Value>, width: usize) -> String {
    let detail: Detail = read(detail.clone());
    let explanation: Option<Explanation> = explanation.cloned().map(read);
    let page = Page {
        detail: &detail,
        explanation: explanation.as_ref(),
        with_body: true,
        now: UnixTime::from_secs(1_796_022_168 + 180),
        width,
        colours: Colours::Off,
    };
    let mut out = Vec::new();
    page.write(&mut out).expect("memory accepts the text");
    String::from_utf8(out).expect("the output is UTF-8")
}

fn table(deliveries: Vec<Value>, width: usize) -> String {
    let list: List = read(json!({ "deliveries": deliveries }));
    let mut out = Vec::new();
    write_list(&list, &Rows::new(width, Colours::Off), &mut out).expect("memory accepts the text");
    String::from_utf8(out).expect("the output is UTF-8")
}

/// Asserts that `text` has `lines` lines, and no character that is not visible.
#[track_caller]
fn assert_harmless(text: &str, lines: usize, cause: &str) {
    assert_eq!(text.lines().count(), lines, "{cause:?}\n{text}");
    assert!(text.lines().all(is_safe), "{cause:?}\n{text:?}");
}

#[test]
fn hostile_values_are_shown_and_do_nothing() {
    let lines_of_page = page(&hostile_detail("x"), Some(&hostile_explanation("x")), 80);
    let lines_of_page = lines_of_page.lines().count();
    for text in HOSTILE {
        for width in [40, 80, 200] {
            let rows = table(vec![hostile_delivery(text); 3], width);
            assert_harmless(&rows, 5, text);
            let live = Rows::new(width, Colours::Off).live(&read(hostile_delivery(text)));
            assert_harmless(&live, 1, text);
        }
        // Wide enough that the text of the explanation is not wrapped.
        let page = page(
            &hostile_detail(text),
            Some(&hostile_explanation(text)),
            4_000,
        );
        assert_harmless(&page, lines_of_page, text);
        assert!(page.contains(&printable(text)), "{text:?}\n{page}");
    }
    // The control: the same check finds a text that is not escaped.
    assert!(HOSTILE.iter().any(|text| !text.lines().all(is_safe)));
}

/// Returns deliveries with the lengths of real ones.
fn deliveries() -> Vec<Value> {
    vec![
        json!({
            "seq": 3, "request_id": "5f0c8a6de2b94a13000000000000002f",
            "time": "2026-11-30T07:02:48.123Z", "outcome": "forwarded", "status": 204,
            "source": "stripe-live", "provider": "stripe", "upstream": "app",
            "event_id": "evt_1PqRsTuVwXyZ0123456789ab", "event_type": "charge.succeeded",
            "key_id": "2026", "client": "2001:db8:1234:5678:9abc:def0:1234:5678",
            "body_bytes": 1_234, "total_us": 12_345, "upstream_us": 12_000, "verify_us": 35,
        }),
        json!({
            "seq": 2, "request_id": "5f0c8a6de2b94a13000000000000002e",
            "time": "2026-11-30T07:02:47.001Z", "outcome": "refused",
            "reason": "signature_mismatch", "status": 401, "source": "github",
            "delivery_id": "d9c1f3a0-ee1f-11ee-9e4c-0f6b0c6c0d1e", "client": "192.0.2.1",
            "total_us": 57,
        }),
        json!({
            "seq": 1, "request_id": "5f0c8a6de2b94a13000000000000002d",
            "time": "2026-11-30T07:02:40.001Z", "outcome": "observed_refused",
            "reason": "source_unknown", "status": 404, "method": "GET",
            "path": "/.well-known/日本語/日本語/日本語/日本語/日本語/日本語/日本語/日本語",
            "client": "192.0.2.1", "total_us": 2_500_000,
        }),
    ]
}

#[test]
fn every_row_fits_the_width() {
    for columns in (20..=260).chain([1, 5, 10]) {
        let text = table(deliveries(), columns);
        // The last line is the note about the time zone.
        for line in text.lines().take(4) {
            assert!(width(line) <= columns, "{columns} {line}");
        }
        let rows = Rows::new(columns, Colours::Off);
        assert!(width(&rows.live_head()) <= columns, "{columns}");
        for delivery in deliveries() {
            let line = rows.live(&read(delivery));
            assert!(width(&line) <= columns, "{columns} {line}");
        }
    }
}

#[test]
fn a_list_has_the_columns_that_fit() {
    let expected = "\
time     outcome   event        request
07:02:48 forwarded evt_1PqRsTu… 0000002f
07:02:47 refused   d9c1f3a0-ee… 0000002e
07:02:40 (refused) GET /.well-… 0000002d
times are in UTC, on 2026-11-30; (outcome) of observe mode: forwarded nevertheless
";
    assert_eq!(table(deliveries(), 40), expected);
    let expected = "\
time     outcome   code source    event                  reason         request
07:02:48 forwarded 204  stripe-l… evt_1PqRsTuVwXyZ01234…                0000002f
07:02:47 refused   401  github    d9c1f3a0-ee1f-11ee-9e… signature_mis… 0000002e
07:02:40 (refused) 404            GET /.well-known/日本… source_unknown 0000002d
";
    let narrow = table(deliveries(), 80);
    assert!(narrow.starts_with(expected), "{narrow}");
    // Days that differ are part of the times.
    let mut days = deliveries();
    days[2]["time"] = "2026-11-29T23:59:59.001Z".into();
    let narrow = table(days, 80);
    assert!(narrow.contains("\n11-29 23:59:59 (refused)"), "{narrow}");
    assert!(narrow.contains("times are in UTC;"), "{narrow}");
    let wide = table(deliveries(), 200);
    for text in [
        "5f0c8a6de2b94a13000000000000002f",
        "evt_1PqRsTuVwXyZ0123456789ab",
        "signature_mismatch",
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        "12 ms",
    ] {
        assert!(wide.contains(text), "{text}\n{wide}");
    }
}

#[test]
fn a_live_line_has_the_end_of_the_request_id() {
    let delivery: Delivery = read(deliveries().remove(0));
    let rows = Rows::new(80, Colours::Off);
    let line = rows.live(&delivery);
    assert!(line.starts_with("07:02:48 forwarded   204"), "{line}");
    assert!(line.ends_with("0000002f"), "{line}");
    let coloured = Rows::new(80, Colours::On).live(&delivery);
    assert!(
        coloured.contains("\x1b[32mforwarded\x1b[0m"),
        "{coloured:?}"
    );
}

#[test]
fn a_page_has_every_fact() {
    let detail = json!({
        "delivery": {
            "seq": 2, "request_id": "5f0c8a6de2b94a13000000000000002e",
            "time": "2026-11-30T07:02:48.001Z", "outcome": "refused",
            "reason": "signature_mismatch", "status": 401, "source": "github", "tenant": "acme",
            "provider": "github", "method": "POST", "path": "/hooks/github",
            "delivery_id": "d9c1", "client": "192.0.2.1", "user_agent": "GitHub-Hookshot/1",
            "content_type": "application/json", "content_length": 7, "body_bytes": 7,
            "signed_headers": "x-hub-signature-256: sha256=<64 hex>", "verify_us": 40,
            "total_us": 100, "capture": "complete",
        },
        "capture": {
            "method": "POST", "target": "/hooks/github?x=1",
            "headers": [["x-github-delivery", "d9c1"]],
            "body": { "base64": "eyJhIjoxfQ==", "bytes": 7, "shown": 7 },
            "redacted": false, "redactions": [], "complete": true,
            "expires": "2026-11-30T08:02:48.001Z",
        },
        "verify_command": "hookgate verify -c gateway.toml --source github --capture FILE",
        "can_resend": true,
        "can_forget": false, "cannot_forget_because": "the delivery was refused",
    });
    let explanation = json!({
        "verified": false, "reason": "signature_mismatch", "detail": "no signature matches",
        "causes": [{
            "code": "secret_other", "proved": false, "summary": "the secret is another one",
            "fix": "compare it",
        }],
    });
    let expected = "\
request         5f0c8a6de2b94a13000000000000002e
time            2026-11-30 07:02:48.001 UTC, 3 min ago
outcome         refused: signature_mismatch, status 401
source          github, tenant acme, provider github
target          POST /hooks/github
delivery id     d9c1, which is not signed
sender          192.0.2.1, GitHub-Hookshot/1
body            7 B, application/json
signed headers  x-hub-signature-256: sha256=<64 hex>
capture         complete, kept until 2026-11-30 08:02:48.001 UTC
resend          hookgate events resend 5f0c8a6de2b94a13000000000000002e
forget          not possible: the delivery was refused

timeline: 100 µs in all
  verify            40 µs  █████
  network, waits    60 µs  ███████

request
  POST /hooks/github?x=1
  x-github-delivery: d9c1

body
{\"a\":1}

explanation
refused: no signature matches (signature_mismatch)
likely cause: the secret is another one
  (secret_other)
  what to do: compare it

verify it yourself
  hookgate verify -c gateway.toml --source github --capture FILE
";
    assert_eq!(page(&detail, Some(&explanation), 40), expected);
}

#[test]
fn the_help_fits_80_columns() {
    use clap::CommandFactory;

    let mut command = crate::cli::Cli::command();
    // `build` writes the usage of the commands below.
    command.build();
    let help = command.render_long_help().to_string();
    assert!(help.lines().all(|line| width(line) <= 80), "{help}");
    for (name, count) in [("events", 6), ("queue", 6)] {
        let group = command
            .find_subcommand_mut(name)
            .expect("the command exists");
        assert_eq!(group.get_subcommands().count(), count);
        for command in group.get_subcommands_mut() {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(help.lines().all(|line| width(line) <= 80), "{help}");
            }
        }
    }
}
