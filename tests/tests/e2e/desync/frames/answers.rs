//! Hostile answers of an upstream over HTTP/2.

use hookgate_tests::http2_frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal_fields,
};

use crate::desync::sender::Size;
use crate::desync::trial::{Expected, Reuse, Trial};

/// An answer.
pub(super) struct Answer {
    name: &'static str,
    expected: Seen,
    /// Returns the answer to the event with this id, on this stream.
    pub(super) frames: fn(u32, &str) -> Vec<u8>,
    pub(super) end: End,
}

/// The sender's view of an answer.
#[derive(Clone, Copy)]
enum Seen {
    /// The status 200 and the event id as the body.
    Id,
    /// This status without a body.
    Empty(u16),
    /// An error of the gateway.
    Error(u16),
    /// An incomplete response.
    Cut,
}

/// The connection after the answer.
#[derive(Clone, Copy)]
pub(super) enum End {
    Open,
    Close,
}

const fn open(name: &'static str, expected: Seen, frames: fn(u32, &str) -> Vec<u8>) -> Answer {
    let end = End::Open;
    Answer {
        name,
        expected,
        frames,
        end,
    }
}

const fn close(name: &'static str, expected: Seen, frames: fn(u32, &str) -> Vec<u8>) -> Answer {
    let end = End::Close;
    Answer {
        name,
        expected,
        frames,
        end,
    }
}

/// Returns the trials of all answers.
pub(super) fn trials() -> Vec<Trial> {
    let answers = ANSWERS.iter().enumerate();
    let trials = answers.map(|(index, answer)| Trial {
        index,
        class: "HTTP/2",
        name: answer.name,
        expected: match answer.expected {
            Seen::Id => Expected::Relayed(200, b"{id}".to_vec()),
            Seen::Empty(status) => Expected::Relayed(status, Vec::new()),
            Seen::Error(status) => Expected::GatewayError(status),
            Seen::Cut => Expected::Cut,
        },
        reuse: Reuse::Any,
        size: Size::Small,
    });
    trials.collect()
}

/// Returns a good answer.
pub(super) fn good(stream: u32, id: &str) -> Vec<u8> {
    [ok(stream, id, &[]), data(stream, END_STREAM, id)].concat()
}

/// Returns the head of a response with the status 200 and more fields.
fn ok(stream: u32, id: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":status", "200"), ("x-id", id)][..], fields].concat();
    head(stream, 0, &fields)
}

fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let block = literal_fields(fields.iter().copied());
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

fn data(stream: u32, flags: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    frame(DATA, flags, stream, bytes.as_ref())
}

/// Returns a response whose head has these fields only.
fn whole(stream: u32, id: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    [head(stream, 0, fields), data(stream, END_STREAM, id)].concat()
}

/// Returns a good answer behind `frames`.
fn behind(frames: Vec<u8>, stream: u32, id: &str) -> Vec<u8> {
    [frames, good(stream, id)].concat()
}

/// Returns a response with the status 200 and one more field.
fn with(stream: u32, id: &str, name: &str, value: &str) -> Vec<u8> {
    [
        ok(stream, id, &[(name, value)]),
        data(stream, END_STREAM, id),
    ]
    .concat()
}

fn reset(stream: u32, reason: u8) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, reason])
}

/// The answers. An event id begins with the number of its answer.
pub(super) static ANSWERS: &[Answer] = &[
    open("a response", Seen::Id, good),
    open("a length", Seen::Id, |s, id| {
        with(s, id, "content-length", "10")
    }),
    open("trailers", Seen::Id, |s, id| {
        let trailers = head(s, END_STREAM, &[("x-end", "a")]);
        [ok(s, id, &[]), data(s, 0, id), trailers].concat()
    }),
    open("no content", Seen::Empty(204), |s, _| {
        head(s, END_STREAM, &[(":status", "204")])
    }),
    open("204 with a body", Seen::Empty(204), |s, id| {
        whole(s, id, &[(":status", "204")])
    }),
    open("an interim response", Seen::Id, |s, id| {
        behind(head(s, 0, &[(":status", "103"), ("link", "a")]), s, id)
    }),
    // h2 takes it for an interim response like others.
    open("the status 101", Seen::Id, |s, id| {
        behind(head(s, 0, &[(":status", "101")]), s, id)
    }),
    open("an interim response that ends", Seen::Error(502), |s, _| {
        head(s, END_STREAM, &[(":status", "103")])
    }),
    open("no status", Seen::Error(502), |s, id| {
        whole(s, id, &[("x-id", id)])
    }),
    open("two statuses", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "200"), (":status", "204")])
    }),
    open("a status behind a field", Seen::Error(502), |s, id| {
        whole(s, id, &[("x-id", id), (":status", "200")])
    }),
    open("the status 99", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "99")])
    }),
    open("the status 099", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "099")])
    }),
    open("the status 600", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "600")])
    }),
    open("the status 1000", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "1000")])
    }),
    open("the status 2x0", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "2x0")])
    }),
    open("an empty status", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "")])
    }),
    open("a status with CR LF", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "200\r\nX")])
    }),
    open("307", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "307"), ("location", "http://a/")])
    }),
    open("410", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "410")])
    }),
    // h2 drops the pseudo-headers of requests in a response, and all those of trailers.
    open(":path", Seen::Id, |s, id| {
        whole(s, id, &[(":status", "200"), (":path", "/")])
    }),
    open("an unknown pseudo-header", Seen::Error(502), |s, id| {
        whole(s, id, &[(":status", "200"), (":foo", "a")])
    }),
    open("a name in upper case", Seen::Error(502), |s, id| {
        with(s, id, "X-Upper", "a")
    }),
    open("a name with CR LF", Seen::Error(502), |s, id| {
        with(s, id, "x\r\ny", "a")
    }),
    open("a value with CR LF", Seen::Error(502), |s, id| {
        with(
            s,
            id,
            "x",
            "a\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
        )
    }),
    open("a value with LF", Seen::Error(502), |s, id| {
        with(s, id, "x", "a\nb")
    }),
    open("a value with NUL", Seen::Error(502), |s, id| {
        with(s, id, "x", "a\0b")
    }),
    open("connection", Seen::Error(502), |s, id| {
        with(s, id, "connection", "close")
    }),
    open("transfer-encoding", Seen::Error(502), |s, id| {
        with(s, id, "transfer-encoding", "chunked")
    }),
    open("upgrade", Seen::Error(502), |s, id| {
        with(s, id, "upgrade", "h2c")
    }),
    open("keep-alive", Seen::Error(502), |s, id| {
        with(s, id, "keep-alive", "timeout=1")
    }),
    open("hookgate-outcome", Seen::Id, |s, id| {
        with(s, id, "hookgate-outcome", "duplicate")
    }),
    open("a length above the body", Seen::Cut, |s, id| {
        with(s, id, "content-length", "20")
    }),
    open("a length below the body", Seen::Cut, |s, id| {
        with(s, id, "content-length", "4")
    }),
    open("two lengths", Seen::Error(502), |s, id| {
        let head = ok(s, id, &[("content-length", "10"), ("content-length", "4")]);
        [head, data(s, END_STREAM, id)].concat()
    }),
    open("a length in letters", Seen::Error(502), |s, id| {
        with(s, id, "content-length", "ten")
    }),
    open("a negative length", Seen::Error(502), |s, id| {
        with(s, id, "content-length", "-10")
    }),
    open("a length without a body", Seen::Error(502), |s, id| {
        head(
            s,
            END_STREAM,
            &[(":status", "200"), ("x-id", id), ("content-length", "10")],
        )
    }),
    open("DATA before HEADERS", Seen::Error(502), |s, id| {
        behind(data(s, 0, id), s, id)
    }),
    open("DATA after the end", Seen::Id, |s, id| {
        [good(s, id), data(s, END_STREAM, "EVIL")].concat()
    }),
    open("a second response", Seen::Id, |s, id| {
        [good(s, id), good(s, id)].concat()
    }),
    open("a second head", Seen::Cut, |s, id| {
        [
            ok(s, id, &[]),
            data(s, 0, id),
            ok(s, id, &[]),
            data(s, END_STREAM, "EVIL"),
        ]
        .concat()
    }),
    open("trailers with a status", Seen::Id, |s, id| {
        let trailers = head(s, END_STREAM, &[(":status", "204")]);
        [ok(s, id, &[]), data(s, 0, id), trailers].concat()
    }),
    open(
        "a response on the stream of nobody",
        Seen::Error(502),
        |s, id| good(s + 100, id),
    ),
    open("a response on an even stream", Seen::Error(502), |_, id| {
        good(2, id)
    }),
    open("a response on stream 0", Seen::Error(502), |_, id| {
        good(0, id)
    }),
    open("PUSH_PROMISE", Seen::Error(502), |s, id| {
        let promised = [&[0, 0, 0, 2, 0x82, 0x86, 0x84][..], b"\x41\x01a"].concat();
        behind(frame(PUSH_PROMISE, END_HEADERS, s, &promised), s, id)
    }),
    open("a reset", Seen::Error(502), |s, _| reset(s, 2)),
    open("a reset behind the head", Seen::Cut, |s, id| {
        [ok(s, id, &[]), reset(s, 2)].concat()
    }),
    open("a reset in the body", Seen::Cut, |s, id| {
        [ok(s, id, &[]), data(s, 0, "half"), reset(s, 0)].concat()
    }),
    open("a reset behind the response", Seen::Id, |s, id| {
        [good(s, id), reset(s, 0)].concat()
    }),
    open("a frame above the limit", Seen::Error(502), |s, id| {
        [data(s, 0, [0; 20_000]), good(s, id)].concat()
    }),
    open("padding above the frame", Seen::Error(502), |s, id| {
        behind(frame(DATA, PADDED, s, &[255, 0]), s, id)
    }),
    open("an index above the table", Seen::Error(502), |s, _| {
        frame(HEADERS, END_HEADERS | END_STREAM, s, &[0x88, 0xff, 0x7f])
    }),
    open("CONTINUATION without HEADERS", Seen::Error(502), |s, id| {
        behind(frame(CONTINUATION, END_HEADERS, s, &[0x88]), s, id)
    }),
    open("PING in a head", Seen::Error(502), |s, _| {
        [frame(HEADERS, 0, s, &[0x88]), frame(PING, 0, 0, &[0; 8])].concat()
    }),
    open("a flood of CONTINUATION", Seen::Error(502), |s, _| {
        let more = frame(CONTINUATION, 0, s, &[0x88; 1_000]).repeat(2_000);
        [frame(HEADERS, 0, s, &[0x88]), more].concat()
    }),
    open("300 fields", Seen::Error(502), |s, id| {
        let block = literal_fields([(":status", "200")]);
        let fields = literal_fields([("x", "y")]).repeat(300);
        let head = frame(HEADERS, END_HEADERS, s, &[block, fields].concat());
        [head, data(s, END_STREAM, id)].concat()
    }),
    open("a bad setting", Seen::Error(502), |s, id| {
        behind(frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), s, id)
    }),
    open(
        "an acknowledgement of nothing",
        Seen::Error(502),
        |s, id| behind(frame(SETTINGS, ACK, 0, &[]), s, id),
    ),
    open("a window of 0", Seen::Error(502), |s, id| {
        behind(frame(WINDOW_UPDATE, 0, 0, &[0; 4]), s, id)
    }),
    open("a window above 2^31", Seen::Error(502), |s, id| {
        let largest = [0x7f, 0xff, 0xff, 0xff];
        behind(frame(WINDOW_UPDATE, 0, 0, &largest).repeat(2), s, id)
    }),
    open("a flood of PING", Seen::Id, |s, id| {
        behind(frame(PING, 0, 0, &[0; 8]).repeat(2_000), s, id)
    }),
    open("a flood of SETTINGS", Seen::Id, |s, id| {
        behind(frame(SETTINGS, 0, 0, &[]).repeat(2_000), s, id)
    }),
    open("unknown frames", Seen::Id, |s, id| {
        behind(frame(0xfa, 0xff, s, b"a").repeat(100), s, id)
    }),
    open("HTTP/1", Seen::Error(502), |_, _| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec()
    }),
    open("silence", Seen::Error(504), |_, _| Vec::new()),
    open("a body that stops", Seen::Cut, |s, id| {
        [ok(s, id, &[]), data(s, 0, "half")].concat()
    }),
    close("the end", Seen::Error(502), |_, _| Vec::new()),
    close("the end behind the head", Seen::Cut, |s, id| ok(s, id, &[])),
    close("the end in the body", Seen::Cut, |s, id| {
        [ok(s, id, &[]), data(s, 0, "half")].concat()
    }),
    close("half a frame", Seen::Error(502), |s, id| {
        good(s, id)[..12].to_vec()
    }),
    close("GOAWAY without a response", Seen::Error(502), |s, _| {
        let payload = [s.to_be_bytes(), [0, 0, 0, 1]].concat();
        frame(GOAWAY, 0, 0, &payload)
    }),
];
