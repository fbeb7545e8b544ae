//! One line of the access log, as text or as JSON.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hookgate_core::UnixTime;

use super::request::{RequestFacts, SenderText};
use super::{Format, Timestamp};
use crate::client_address::ClientAddress;
use crate::config::TransportAddress;
use crate::telemetry::outcome::RequestOutcome;

/// The fields of one line.
///
/// No field contains a secret, a signature or a part of a body, apart from the id and the type
/// of the event.
#[derive(Debug)]
pub(crate) struct Line<'l> {
    /// When the request ended.
    pub(crate) time: UnixTime,
    pub(crate) request_id: &'l str,
    pub(crate) outcome: RequestOutcome,
    pub(crate) reason: Option<&'static str>,
    pub(crate) status: Option<u16>,
    pub(crate) source: Option<&'l str>,
    /// The tenant that the path names, if the source has tenants.
    pub(crate) tenant: Option<&'l str>,
    /// The head of the request. `None` if it could not be parsed, or if the delivery was
    /// cancelled.
    pub(crate) request: Option<&'l RequestFacts<'l>>,
    pub(crate) client: Option<ClientAddress>,
    pub(crate) key_id: Option<&'l str>,
    pub(crate) event_id: Option<&'l str>,
    pub(crate) event_type: Option<&'l str>,
    pub(crate) attempt: Option<u32>,
    pub(crate) upstream: Option<&'l str>,
    /// The backend that was tried last.
    pub(crate) server: Option<&'l TransportAddress>,
    pub(crate) body_bytes: Option<usize>,
    pub(crate) verify: Option<Duration>,
    pub(crate) claim: Option<Duration>,
    pub(crate) upstream_wait: Option<Duration>,
    /// The time for storing the delivery in the queue.
    pub(crate) store: Option<Duration>,
    pub(crate) total: Duration,
    /// The name of the token that sent the delivery again.
    pub(crate) resent_by: Option<&'l str>,
    /// The request id of the delivery that was sent again.
    pub(crate) resent_from: Option<&'l str>,
    /// The number of the delivery in the queue.
    pub(crate) queue_id: Option<u64>,
    /// The request id of the delivery that a worker of the queue sends.
    pub(crate) queued_from: Option<&'l str>,
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
enum Value<'v> {
    /// A label, or a name that the operator chose.
    Name(&'v str),
    /// Text that the sender controls. It stands in quotes, in text lines too.
    Quoted(&'v [u8]),
    Number(i64),
    Client(ClientAddress),
    Server(&'v TransportAddress),
}

impl Line<'_> {
    /// Appends the line to `out`, with its end.
    pub(super) fn write(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Text => self.write_text(out),
            Format::Json => self.write_json(out),
        }
        out.push(b'\n');
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        write_display(out, Timestamp(self.time));
        out.push(b' ');
        out.extend_from_slice(self.outcome.label().as_bytes());
        self.visit(|name, value| {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            match value {
                Value::Name(name) => out.extend_from_slice(name.as_bytes()),
                Value::Quoted(text) => write_quoted(out, text),
                Value::Number(number) => write_number(out, number),
                Value::Client(address) => write_client(out, address),
                Value::Server(address) => write_server(out, address),
            }
        });
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_display(out, Timestamp(self.time));
        out.extend_from_slice(b"\",\"outcome\":\"");
        out.extend_from_slice(self.outcome.label().as_bytes());
        out.push(b'"');
        self.visit(|name, value| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            match value {
                Value::Name(name) => write_quoted(out, name.as_bytes()),
                Value::Quoted(text) => write_quoted(out, text),
                Value::Number(number) => write_number(out, number),
                Value::Client(address) => {
                    out.push(b'"');
                    write_client(out, address);
                    out.push(b'"');
                }
                Value::Server(address) => {
                    out.push(b'"');
                    write_server(out, address);
                    out.push(b'"');
                }
            }
        });
        out.push(b'}');
    }

    /// Calls `field` for each field after the time and the outcome.
    fn visit<'l>(&'l self, mut field: impl FnMut(&'static str, Value<'l>)) {
        let mut add = |name, value: Option<Value<'l>>| {
            if let Some(value) = value {
                field(name, value);
            }
        };
        let quoted = |text: &'l str| Value::Quoted(text.as_bytes());
        let micros = |took: Duration| count(took.as_micros());
        add("reason", self.reason.map(Value::Name));
        add("status", self.status.map(count));
        add("source", self.source.map(Value::Name));
        add("tenant", self.tenant.map(Value::Name));
        if let Some(request) = self.request {
            match &request.request_target {
                Some(target) => add("request_target", Some(quoted(target))),
                None => {
                    add("method", Some(quoted(request.method)));
                    add("path", Some(quoted(request.path)));
                }
            }
        }
        add("client", self.client.map(Value::Client));
        add("key_id", self.key_id.map(quoted));
        add("event_id", self.event_id.map(quoted));
        add("event_type", self.event_type.map(quoted));
        if let Some(request) = self.request {
            let text = |text: SenderText<'l>| Value::Quoted(text.0);
            add("delivery_id", request.delivery_id.map(text));
            add("user_agent", request.user_agent.map(text));
            if let Some(signed) = &request.signed {
                add("signed_headers", Some(quoted(&signed.shapes)));
                add("age_s", signed.age_s.map(Value::Number));
                add("content_type", request.content_type.map(text));
                add("content_length", request.content_length.map(count));
            }
        }
        add("attempt", self.attempt.map(count));
        add("upstream", self.upstream.map(Value::Name));
        add("server", self.server.map(Value::Server));
        add("body_bytes", self.body_bytes.map(count));
        add("verify_us", self.verify.map(micros));
        add("claim_us", self.claim.map(micros));
        add("upstream_us", self.upstream_wait.map(micros));
        add("store_us", self.store.map(micros));
        add("total_us", Some(micros(self.total)));
        add("request_id", Some(Value::Name(self.request_id)));
        add("resent_by", self.resent_by.map(Value::Name));
        add("resent_from", self.resent_from.map(Value::Name));
        add("queue_id", self.queue_id.map(count));
        add("queued_from", self.queued_from.map(quoted));
    }
}

fn count<'v>(count: impl TryInto<i64>) -> Value<'v> {
    Value::Number(count.try_into().unwrap_or(i64::MAX))
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_client(out: &mut Vec<u8>, client: ClientAddress) {
    match client {
        ClientAddress::Ip(address) => write_ip(out, address),
        ClientAddress::Unix => write_display(out, client),
    }
}

/// Appends an address. `Display` takes three times as many instructions for IPv4.
fn write_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                write_number(out, octet.into());
            }
        }
        IpAddr::V6(address) => write_display(out, address),
    }
}

/// Appends the address of a backend as it stands in a text line.
fn write_server(out: &mut Vec<u8>, address: &TransportAddress) {
    match address {
        TransportAddress::Tcp(SocketAddr::V4(address)) => {
            write_ip(out, (*address.ip()).into());
            out.push(b':');
            write_number(out, address.port().into());
        }
        TransportAddress::Tcp(SocketAddr::V6(address)) => write_display(out, address),
        TransportAddress::Unix(_) => write_display(out, address),
    }
}

/// Writing to a `Vec` cannot fail.
fn write_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    let _ = write!(out, "{value}");
}

/// Appends `text` in quotes, as a JSON string, so that it cannot end the line or imitate another
/// field. Characters that move the cursor, change colours or reorder text on a terminal are
/// escaped: control characters, line separators, and bidirectional and other format characters.
fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\');
    // This visits all bytes, so that the compiler uses vector instructions.
    if text.iter().fold(true, |all, byte| all & is_plain(byte)) {
        out.extend_from_slice(text);
    } else {
        write_escaped(out, text);
    }
    out.push(b'"');
}

#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend([b'\\', character as u8]),
                ' '..='~' => out.push(character as u8),
                // The standard library escapes each character that does not print as itself.
                _ if character.escape_debug().len() == 1 => {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write_display(out, format_args!("\\u{unit:04x}"));
                    }
                }
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use serde_json::Value as Json;

    use super::*;
    use crate::telemetry::access_log::SignedHeaders;

    /// Values that end a line, imitate a field, or change how a terminal shows the log.
    const HOSTILE: [&str; 12] = [
        "a\nb=c",
        "a\r\n2026-01-01T00:00:00.000Z forwarded status=200",
        "\" outcome=forwarded x=\"",
        "\\\" outcome=forwarded",
        "\u{1b}[2J\u{1b}[31mred",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "\u{202e}gpj.exe",
        "\u{2066}isolate\u{2069}",
        "line\u{2028}separator\u{2029}",
        "zero\u{200b}width\u{feff}",
        "nul\0del\u{7f}tab\t",
    ];

    fn facts(text: &str) -> RequestFacts<'_> {
        let sent = Some(SenderText(text.as_bytes()));
        RequestFacts {
            method: text,
            path: text,
            request_target: None,
            content_length: Some(7),
            content_type: sent,
            user_agent: sent,
            delivery_id: sent,
            signed: Some(SignedHeaders {
                shapes: text.to_owned(),
                age_s: Some(-3),
            }),
        }
    }

    static SERVER: TransportAddress =
        TransportAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000));

    fn line<'l>(text: &'l str, request: &'l RequestFacts<'l>) -> Line<'l> {
        Line {
            time: UnixTime::from_secs(1_764_000_000),
            request_id: "0123",
            outcome: RequestOutcome::Refused,
            reason: Some("signature_mismatch"),
            status: Some(401),
            source: Some("beatapi"),
            tenant: Some("acme"),
            request: Some(request),
            client: Some(IpAddr::from([127, 0, 0, 1]).into()),
            key_id: Some(text),
            event_id: Some(text),
            event_type: Some(text),
            attempt: Some(1),
            upstream: Some("app"),
            server: Some(&SERVER),
            body_bytes: Some(7),
            verify: Some(Duration::from_micros(5)),
            claim: None,
            upstream_wait: None,
            store: None,
            total: Duration::from_micros(9),
            resent_by: None,
            resent_from: None,
            queue_id: None,
            queued_from: None,
        }
    }

    fn written(line: &Line<'_>, format: Format) -> String {
        let mut out = Vec::new();
        line.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Reads a line of text as a reader would: blanks separate the fields, and a value in quotes
    /// is a JSON string.
    fn parse(line: &str) -> Option<BTreeMap<String, Json>> {
        let mut fields = BTreeMap::new();
        let mut rest = line.strip_suffix('\n')?.splitn(3, ' ').nth(2)?;
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=')?;
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<Json>();
            let (value, end) = if value.starts_with('"') {
                (values.next()?.ok()?, values.byte_offset())
            } else {
                let end = value.find(' ').unwrap_or(value.len());
                (value[..end].into(), end)
            };
            rest = &rest[name.len() + 1 + end..];
            rest = rest.strip_prefix(' ').unwrap_or(rest);
            let is_new = fields.insert(name.to_owned(), value).is_none();
            is_new.then_some(())?;
        }
        Some(fields)
    }

    /// Whether a terminal shows `text` as one line of printable characters.
    fn is_safe(text: &str) -> bool {
        let line = text.strip_suffix('\n').unwrap_or(text);
        line.chars()
            .all(|c| matches!(c, ' '..='~') || (!c.is_ascii() && c.escape_debug().len() == 1))
    }

    const SENT: [&str; 9] = [
        "method",
        "path",
        "user_agent",
        "delivery_id",
        "content_type",
        "signed_headers",
        "event_id",
        "event_type",
        "key_id",
    ];

    #[test]
    fn a_hostile_value_in_any_field_stays_in_its_field() {
        for text in HOSTILE {
            // The control: the value itself is not safe, or would be another field.
            let plain = format!("time outcome path={text} status=401\n");
            let is_told_apart = is_safe(&plain)
                && parse(&plain).is_some_and(|fields| fields.get("path") == Some(&text.into()));
            assert!(!is_told_apart, "{text:?}");

            let facts = facts(text);
            let line = line(text, &facts);
            let log = written(&line, Format::Text);
            assert!(is_safe(&log), "{log}");
            let fields = parse(&log).unwrap_or_else(|| panic!("{log}"));
            let json = written(&line, Format::Json);
            assert!(is_safe(&json), "{json}");
            let json: Json = serde_json::from_str(&json).unwrap();
            for name in SENT {
                assert_eq!(fields[name], text, "{name} {log}");
                assert_eq!(json[name], text, "{name} {json}");
            }
            assert_eq!(fields["status"], "401", "{log}");
            assert_eq!(json["status"], 401, "{json}");
        }
    }

    #[test]
    fn the_target_of_an_unrouted_request_is_escaped() {
        for text in HOSTILE {
            let facts = RequestFacts {
                request_target: Some(text.to_owned()),
                ..facts(text)
            };
            let line = line("evt_1", &facts);
            let log = written(&line, Format::Text);
            assert!(is_safe(&log), "{log}");
            let fields = parse(&log).unwrap_or_else(|| panic!("{log}"));
            assert_eq!(fields["request_target"], text, "{log}");
            assert_eq!(fields.get("path"), None, "{log}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_printable_text_stays_readable() {
        for (sent, shown) in [
            (&b"caf\xe9 \xff"[..], "\"caf\u{fffd} \u{fffd}\""),
            ("café 日本 🎉".as_bytes(), "\"café 日本 🎉\""),
            (b"plain", "\"plain\""),
            (b"", "\"\""),
            ("\u{e0001}".as_bytes(), "\"\\udb40\\udc01\""),
        ] {
            let mut out = Vec::new();
            write_quoted(&mut out, sent);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }

    #[test]
    fn a_line_has_every_field_in_both_formats() {
        let facts = facts("x");
        let line = line("x", &facts);
        let text = written(&line, Format::Text);
        assert_eq!(
            text,
            "2025-11-24T16:00:00.000Z refused reason=signature_mismatch status=401 \
             source=beatapi tenant=acme method=\"x\" path=\"x\" client=127.0.0.1 key_id=\"x\" event_id=\"x\" \
             event_type=\"x\" delivery_id=\"x\" user_agent=\"x\" signed_headers=\"x\" age_s=-3 \
             content_type=\"x\" content_length=7 attempt=1 upstream=app server=127.0.0.1:3000 \
             body_bytes=7 verify_us=5 total_us=9 request_id=0123\n"
        );
        let json: Json = serde_json::from_str(&written(&line, Format::Json)).unwrap();
        let names = json.as_object().unwrap().keys();
        let in_text = parse(&text).unwrap();
        let expected = ["time", "outcome"].into_iter();
        let mut expected: Vec<_> = expected.chain(in_text.keys().map(String::as_str)).collect();
        expected.sort_unstable();
        let mut names: Vec<_> = names.map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    }
}
