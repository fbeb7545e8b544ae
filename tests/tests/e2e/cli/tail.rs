//! `hookgate events tail` against a gateway whose responses are prepared: lost connections,
//! restarts, refusals, and the end of the command.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookgate_tests::binary;
use serde_json::{Value, json};

/// The longest time that a test waits for the command.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A prepared exchange: the start of the request line, and the response.
struct Exchange {
    request: String,
    response: Vec<u8>,
    then: Then,
}

/// What happens to the connection after the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    /// The connection stays open until the client closes it.
    Hold,
}

/// A gateway with prepared responses, one connection after the other.
struct Scripted {
    address: String,
    script: JoinHandle<()>,
}

impl Scripted {
    fn start(exchanges: Vec<Exchange>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener
            .local_addr()
            .expect("the listener is bound")
            .to_string();
        let script = std::thread::spawn(move || {
            for exchange in exchanges {
                let (stream, _) = listener.accept().expect("the client connects");
                exchange.run(stream);
            }
        });
        Self { address, script }
    }

    /// Waits until each exchange has happened.
    fn finish(self) {
        self.script
            .join()
            .expect("the requests are the expected ones");
    }
}

impl Exchange {
    fn run(self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("the socket is valid"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).expect("the client sends");
            assert!(read > 0, "{head}");
        }
        assert!(
            head.starts_with(&self.request),
            "{head}\nexpected {}",
            self.request
        );
        assert!(head.contains("Bearer token-of-the-tests\r\n"), "{head}");
        stream.write_all(&self.response).expect("the client reads");
        if self.then == Then::Hold {
            // The client closes the connection.
            let _ = reader.read(&mut [0]);
        }
    }
}

fn record(seq: u64, event: &str) -> Value {
    json!({
        "seq": seq, "request_id": format!("{seq:032x}"), "time": "2026-11-30T07:02:48.123Z",
        "outcome": "forwarded", "status": 204, "source": "beatapi", "event_id": event,
        "total_us": 1_200,
    })
}

/// Returns an exchange for the list of deliveries.
fn list(query: &str, records: &[Value]) -> Exchange {
    let body = json!({ "deliveries": records, "since": "2026-11-30T07:00:00Z" }).to_string();
    let len = body.len();
    Exchange {
        request: format!("GET /api/deliveries?{query} HTTP/1.1\r\n"),
        response: format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n\
             {body}"
        )
        .into_bytes(),
        then: Then::Close,
    }
}

/// Returns an exchange for the event stream, with `text` in chunks of 7 bytes.
fn stream(after: u64, text: &str, then: Then) -> Exchange {
    let mut response = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                         transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in text.as_bytes().chunks(7) {
        response.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        response.extend_from_slice(chunk);
        response.extend_from_slice(b"\r\n");
    }
    if then == Then::Close {
        response.extend_from_slice(b"0\r\n\r\n");
    }
    Exchange {
        request: format!("GET /api/stream?after={after} HTTP/1.1\r\n"),
        response,
        then,
    }
}

/// Returns an event of the stream.
fn batch(records: &[Value], skipped: u64) -> String {
    let data = json!({ "deliveries": records, "skipped": skipped });
    format!(": hello\r\n\r\nevent: deliveries\r\nid: 1\r\ndata: {data}\r\n\r\n")
}

fn problem(request: &str, status: &str, retry_after: &str) -> Exchange {
    let body = json!({ "title": "T", "detail": "the detail" }).to_string();
    let len = body.len();
    Exchange {
        request: request.to_owned(),
        response: format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nretry-after: \
             {retry_after}\r\ncontent-length: {len}\r\n\r\n{body}"
        )
        .into_bytes(),
        then: Then::Close,
    }
}

/// A running `hookgate events tail`.
struct Tail {
    process: Child,
    /// The lines of standard output. Without them, the pipe is closed.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Tail {
    fn start(address: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(binary())
            .args(["events", "tail", "--token", "env:TOKEN", "--admin"])
            .arg(format!("http://{address}"))
            .args(arguments)
            .env("TOKEN", "token-of-the-tests")
            .env_remove("COLUMNS")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the process starts");
        let output = process.stdout.take().expect("the stream is piped");
        let lines = Some(BufReader::new(output).lines());
        Self { process, lines }
    }

    /// Reads the next `count` lines of standard output.
    fn read(&mut self, count: usize) -> Vec<String> {
        let lines = self.lines.as_mut().expect("the pipe is open").take(count);
        let lines: Vec<String> = lines.map(|line| line.expect("the line is UTF-8")).collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    fn interrupt(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(sent.expect("`kill` is installed").success());
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("the process is a child") {
                return status;
            }
            assert!(
                start.elapsed() < WAIT_TIMEOUT,
                "the command is still running"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns standard error, once the process has ended.
    fn errors(&mut self) -> String {
        let mut text = String::new();
        let mut errors = self.process.stderr.take().expect("the stream is piped");
        errors.read_to_string(&mut text).expect("the text is UTF-8");
        text
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_lost_stream_is_continued_without_a_gap() {
    let hostile = "evt_3\x1b[2J";
    let gateway = Scripted::start(vec![
        list("limit=10", &[record(2, "evt_2"), record(1, "evt_1")]),
        stream(2, &batch(&[record(3, hostile)], 0), Then::Close),
        list("limit=1", &[record(3, "evt_3")]),
        problem("GET /api/stream?after=3 ", "503 Service Unavailable", "1"),
        list("limit=1", &[record(3, "evt_3")]),
        stream(3, &batch(&[record(9, "evt_9")], 5), Then::Hold),
    ]);
    let mut tail = Tail::start(&gateway.address, &[]);
    let lines = tail.read(6);
    assert!(
        lines[0].starts_with("time     outcome     code"),
        "{lines:?}"
    );
    assert!(lines[1].contains(" evt_1 "), "{lines:?}");
    assert!(lines[2].contains(" evt_2 "), "{lines:?}");
    assert!(lines[3].contains(" evt_3\\u{1b}[2J "), "{lines:?}");
    assert_eq!(lines[4], "… 5 deliveries skipped: they arrived too fast");
    assert!(
        lines[5].starts_with("07:02:48 forwarded   204"),
        "{lines:?}"
    );
    assert!(lines[5].ends_with(" 00000009"), "{lines:?}");
    // Ctrl-C ends the command without an error.
    tail.interrupt();
    assert_eq!(tail.wait().code(), Some(0));
    assert_eq!(
        tail.errors(),
        "hookgate: the gateway ended the event stream; connecting again in 500ms\n\
         hookgate: the gateway reports an error (status 503): the detail; try again in 1 s; \
         connecting again in 1s\n"
    );
    gateway.finish();
}

#[test]
fn json_has_one_object_a_line() {
    let gateway = Scripted::start(vec![
        list("source=beatapi&q=a%20b&limit=1", &[record(1, "evt_1")]),
        Exchange {
            request: "GET /api/stream?source=beatapi&q=a%20b&after=1 ".to_owned(),
            ..stream(1, &batch(&[record(2, "\u{9b}2J")], 3), Then::Hold)
        },
    ]);
    let filters = [
        "--source", "beatapi", "--search", "a b", "-n", "0", "--json",
    ];
    let mut tail = Tail::start(&gateway.address, &filters);
    let lines = tail.read(2);
    let values = lines.iter().map(|line| serde_json::from_str::<Value>(line));
    let values: Vec<_> = values
        .map(|value| value.expect("the line is JSON"))
        .collect();
    assert_eq!(values, [json!({ "skipped": 3 }), record(2, "\u{9b}2J")]);
    assert!(lines[1].contains("\\u009b2J"), "{lines:?}");
    tail.interrupt();
    assert_eq!(tail.wait().code(), Some(0));
    gateway.finish();
}

#[test]
fn a_restarted_gateway_is_followed_from_its_first_record() {
    let gateway = Scripted::start(vec![
        list("limit=10", &[record(70, "evt_70")]),
        stream(70, ": hello\n\n", Then::Close),
        list("limit=1", &[record(1, "evt_71")]),
        stream(0, &batch(&[record(1, "evt_71")], 0), Then::Hold),
    ]);
    let mut tail = Tail::start(&gateway.address, &[]);
    let lines = tail.read(3);
    assert!(lines[2].contains("evt_71"), "{lines:?}");
    tail.interrupt();
    assert_eq!(tail.wait().code(), Some(0));
    assert!(
        tail.errors()
            .ends_with("hookgate: the gateway has restarted\n")
    );
    gateway.finish();
}

#[test]
fn a_closed_pipe_ends_the_command_even_without_deliveries() {
    let gateway = Scripted::start(vec![
        list("limit=10", &[record(1, "evt_1")]),
        stream(1, ": hello\n\n", Then::Hold),
    ]);
    let mut tail = Tail::start(&gateway.address, &[]);
    tail.read(2);
    // `head` closes the pipe too when it ends.
    tail.lines = None;
    assert_eq!(tail.wait().code(), Some(0));
    assert_eq!(tail.errors(), "");
    gateway.finish();
}

#[test]
fn an_error_that_stays_ends_the_command() {
    for (status, expected) in [
        (
            "401 Unauthorized",
            "the gateway refused the token (status 401): the detail",
        ),
        (
            "400 Bad Request",
            "the gateway reports an error (status 400): the detail",
        ),
    ] {
        let refused = problem("GET /api/deliveries?limit=10 ", status, "");
        let gateway = Scripted::start(vec![refused]);
        let mut tail = Tail::start(&gateway.address, &[]);
        assert_eq!(tail.wait().code(), Some(1));
        let errors = tail.errors();
        assert!(
            errors.starts_with(&format!("hookgate: {expected}")),
            "{errors}"
        );
        gateway.finish();
        // The token may also have been removed while the command runs.
        let gateway = Scripted::start(vec![
            list("limit=10", &[record(1, "evt_1")]),
            problem("GET /api/stream?after=1 ", status, ""),
        ]);
        let mut tail = Tail::start(&gateway.address, &[]);
        assert_eq!(tail.wait().code(), Some(1));
        gateway.finish();
    }
}
