//! Frames that break the rules of RFC 9113 §3 to §6. `control_cases` has the frames without a message.

use hookgate_tests::http2_frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

use super::delivery::Delivery;
use super::peer::Verdict::{AnyError, Connection, Forwarded, Ignored, Stream};
use super::{Cases, HOSTILE};

/// The flag of HEADERS with a priority.
const WITH_PRIORITY: u8 = 0x20;
/// The maximum length of a frame without a setting.
const MAX_FRAME: usize = 16_384;
/// The reason `CANCEL` of RST_STREAM.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

pub(super) fn add(cases: &mut Cases) {
    add_starts(cases);
    add_order(cases);
    add_data(cases);
    add_headers(cases);
    add_compression(cases);
}

/// Returns a whole request that no source accepts: `POST /` to the host `a`.
fn refused(stream: u32) -> Vec<u8> {
    let block = b"\x83\x86\x84\x41\x01a";
    frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
}

fn add_starts(cases: &mut Cases) {
    cases.class("start");
    let settings = frame(SETTINGS, 0, 0, &[]);
    let with_preface = |frames: &[u8]| [PREFACE, frames].concat();
    cases.start(
        "a wrong preface",
        Connection,
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    );
    cases.start(
        "a lower-case preface",
        Connection,
        "pri * http/2.0\r\n\r\nsm\r\n\r\n",
    );
    cases.start("frames without a preface", Connection, settings.clone());
    cases.start(
        "a preface for HTTP/1.1",
        Connection,
        "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
    );
    let twice = [&settings[..], PREFACE, &settings].concat();
    cases.start("two prefaces", Connection, with_preface(&twice));
    cases.start(
        "settings in an upgrade of HTTP/1",
        Connection,
        "POST /hooks/beatapi HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 0\r\n\r\n",
    );
    cases.start(
        "a request of HTTP/1 before the preface",
        Connection,
        [
            &b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..],
            PREFACE,
        ]
        .concat(),
    );
}

fn add_order(cases: &mut Cases) {
    cases.class("order of frames");
    cases.frames("DATA before HEADERS", Connection, |d| d.data(HOSTILE));
    cases.frames("DATA on stream 0", Connection, |d| d.data(0));
    cases.frames("HEADERS on stream 0", Connection, |d| d.head(0));
    cases.frames("an even stream", Connection, |d| d.request(2));
    cases.frames("a lower stream", Connection, |d| {
        [refused(7), d.head(5)].concat()
    });
    cases.frames("the open stream again", Stream, |d| {
        [d.head(HOSTILE), d.head(HOSTILE)].concat()
    });
    cases.frames("DATA after the end", AnyError, |d| {
        [refused(HOSTILE), d.data(HOSTILE)].concat()
    });
    cases.frames("HEADERS after the end", AnyError, |d| {
        [refused(HOSTILE), d.head(HOSTILE)].concat()
    });
    cases.frames("a request after its reset", Stream, |d| {
        let reset = frame(RST_STREAM, 0, HOSTILE, &CANCEL);
        [d.head(HOSTILE), reset, d.data(HOSTILE)].concat()
    });
    cases.frames("PUSH_PROMISE", Connection, |d| {
        frame(
            PUSH_PROMISE,
            END_HEADERS,
            HOSTILE,
            &[&[0, 0, 0, 4][..], &d.block()].concat(),
        )
    });
    cases.frames("an unknown frame", Ignored, |_| {
        frame(0xfa, 0xff, HOSTILE, b"hello")
    });
    cases.frames("an unknown frame in a head", Connection, |d| {
        [
            frame(HEADERS, 0, HOSTILE, &d.block()),
            frame(0xfa, 0, HOSTILE, &[]),
        ]
        .concat()
    });
    cases.frames("unknown flags", Forwarded, |d| {
        [
            frame(HEADERS, END_HEADERS | 0xd2, HOSTILE, &d.block()),
            d.data(HOSTILE),
        ]
        .concat()
    });
    cases.frames("the reserved bit of a stream", Forwarded, |d| {
        [d.head(HOSTILE | 1 << 31), d.data(HOSTILE | 1 << 31)].concat()
    });
    cases.frames("GOAWAY and then a request", Forwarded, |d| {
        let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
        [goaway, d.request(HOSTILE)].concat()
    });
}

fn add_data(cases: &mut Cases) {
    cases.class("DATA");
    cases.frames("padding of the whole frame", Connection, |d| {
        [
            d.head(HOSTILE),
            frame(DATA, PADDED, HOSTILE, &[5, 0, 0, 0, 0]),
        ]
        .concat()
    });
    cases.frames("padding above the frame", Connection, |d| {
        [d.head(HOSTILE), frame(DATA, PADDED, HOSTILE, &[255, 0])].concat()
    });
    cases.frames("padding without its length", Connection, |d| {
        [d.head(HOSTILE), frame(DATA, PADDED, HOSTILE, &[])].concat()
    });
    cases.frames("padding behind the body", Forwarded, |d| {
        let padded = [&[3][..], &d.body, &[0; 3]].concat();
        [
            d.head(HOSTILE),
            frame(DATA, PADDED | END_STREAM, HOSTILE, &padded),
        ]
        .concat()
    });
    cases.frames("a frame above the limit", Connection, |d| {
        [
            d.head(HOSTILE),
            frame(DATA, 0, HOSTILE, &[b' '; MAX_FRAME + 1]),
        ]
        .concat()
    });
    cases.frames("a frame of 16 MiB that does not come", Connection, |d| {
        let mut head = frame(DATA, 0, HOSTILE, &[]);
        head[..3].fill(0xff);
        [d.head(HOSTILE), head].concat()
    });
    cases.frames("empty frames before the body", Forwarded, |d| {
        let empty = frame(DATA, 0, HOSTILE, &[]).repeat(50);
        [d.head(HOSTILE), empty, d.data(HOSTILE)].concat()
    });
    cases.frames("one byte a frame", Forwarded, |d| {
        let bytes = d
            .body
            .iter()
            .flat_map(|byte| frame(DATA, 0, HOSTILE, &[*byte]));
        let end = frame(DATA, END_STREAM, HOSTILE, &[]);
        [d.head(HOSTILE), bytes.collect(), end].concat()
    });
    cases.frames("a second body behind the end", AnyError, |d| {
        let forged = d.clone().replace("x-beatapi-signature", "sha256=00");
        [forged.request(HOSTILE), d.data(HOSTILE)].concat()
    });
}

fn add_headers(cases: &mut Cases) {
    cases.class("HEADERS");
    cases.frames("CONTINUATION without HEADERS", Connection, |d| {
        frame(CONTINUATION, END_HEADERS, HOSTILE, &d.block())
    });
    cases.frames("CONTINUATION on stream 0", Connection, |d| {
        let continued = frame(CONTINUATION, END_HEADERS, 0, &[]);
        [frame(HEADERS, 0, HOSTILE, &d.block()), continued].concat()
    });
    cases.frames("CONTINUATION of another stream", Connection, |d| {
        let continued = frame(CONTINUATION, END_HEADERS, HOSTILE + 2, &[]);
        [frame(HEADERS, 0, HOSTILE, &d.block()), continued].concat()
    });
    for (name, between) in [
        ("DATA", frame(DATA, 0, HOSTILE, b"{}")),
        (
            "HEADERS of another stream",
            frame(HEADERS, END_HEADERS, 5, &[0x83]),
        ),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("RST_STREAM", frame(RST_STREAM, 0, HOSTILE, &CANCEL)),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        cases.frames(&format!("{name} in a head"), Connection, move |d| {
            let continued = frame(CONTINUATION, END_HEADERS, HOSTILE, &[]);
            [
                frame(HEADERS, 0, HOSTILE, &d.block()),
                between.clone(),
                continued,
            ]
            .concat()
        });
    }
    cases.frames("a head in pieces of one byte", Connection, |d| {
        let block = d.block();
        let (first, rest) = block.split_at(1);
        let pieces = rest
            .iter()
            .flat_map(|byte| frame(CONTINUATION, 0, HOSTILE, &[*byte]));
        let end = frame(CONTINUATION, END_HEADERS, HOSTILE, &[]);
        [frame(HEADERS, 0, HOSTILE, first), pieces.collect(), end].concat()
    });
    cases.frames("a head in three pieces", Forwarded, |d| {
        let block = d.block();
        let (first, rest) = block.split_at(block.len() / 2);
        let head = frame(HEADERS, 0, HOSTILE, first);
        let middle = frame(CONTINUATION, 0, HOSTILE, rest);
        let end = frame(CONTINUATION, END_HEADERS, HOSTILE, &[]);
        [head, middle, end, d.data(HOSTILE)].concat()
    });
    cases.frames("padding above the frame", Connection, |_| {
        frame(HEADERS, END_HEADERS | PADDED, HOSTILE, &[255, 0x83])
    });
    cases.frames("a priority without its bytes", Connection, |_| {
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, HOSTILE, &[0, 0])
    });
    cases.frames("a priority that depends on itself", Stream, |d| {
        let priority = [0, 0, 0, HOSTILE as u8, 16];
        let block = [&priority[..], &d.block()].concat();
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, HOSTILE, &block)
    });
    cases.frames("an empty head", Stream, |_| {
        frame(HEADERS, END_HEADERS | END_STREAM, HOSTILE, &[])
    });
    cases.frames("trailers that do not end the stream", Stream, |d| {
        let trailers = frame(HEADERS, END_HEADERS, HOSTILE, b"\x00\x01x\x01y");
        [d.head(HOSTILE), frame(DATA, 0, HOSTILE, &d.body), trailers].concat()
    });
    // h2 drops the pseudo-header, and the gateway drops all trailers.
    cases.frames("trailers with a pseudo-header", Forwarded, |d| {
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, HOSTILE, &[0x83]);
        [d.head(HOSTILE), frame(DATA, 0, HOSTILE, &d.body), trailers].concat()
    });
    cases.frames("trailers", Forwarded, |d| {
        let trailers = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            HOSTILE,
            b"\x00\x01x\x01y",
        );
        [d.head(HOSTILE), frame(DATA, 0, HOSTILE, &d.body), trailers].concat()
    });
}

fn add_compression(cases: &mut Cases) {
    cases.class("compression");
    for (name, block) in [
        ("index 0", &b"\x80"[..]),
        ("an index above the table", b"\xbf"),
        (
            "an index of 2^70",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ),
        ("an integer that does not end", b"\xff\xff"),
        ("a text that does not end", b"\x00\x7fa"),
        ("a text of 2^32 bytes", b"\x00\x7f\xff\xff\xff\xff\x0f"),
        (
            "Huffman with the end of string",
            b"\x00\x84\xff\xff\xff\xff\x00",
        ),
        ("a table above the limit", b"\x3f\xe1\xff\x7f\x83"),
        ("a change of the table behind a field", b"\x83\x20"),
        ("a name index above the table", b"\x7f\x40\x01a"),
    ] {
        cases.frames(name, Connection, move |_| {
            frame(HEADERS, END_HEADERS | END_STREAM, HOSTILE, block)
        });
    }
    cases.frames("a bomb of 15 MB", Connection, |d| {
        let references = frame(CONTINUATION, END_HEADERS, HOSTILE, &[0xbe; 4_000]);
        [
            frame(HEADERS, 0, HOSTILE, &block_with_large_entry(d)),
            references,
        ]
        .concat()
    });
    cases.frames("a bomb of 128 KB", Stream, |d| {
        let block = [&block_with_large_entry(d)[..], &[0xbe; 32]].concat();
        [
            frame(HEADERS, END_HEADERS, HOSTILE, &block),
            d.data(HOSTILE),
        ]
        .concat()
    });
}

/// Returns the fields of `delivery`, and a field of 3 900 bytes that becomes entry 62 of the table.
fn block_with_large_entry(delivery: &Delivery) -> Vec<u8> {
    // The name `a`, and a length of 3 900 with a prefix of 7 bits (RFC 7541 §6.2.1).
    let field = [0x40, 1, b'a', 0x7f, 0xbd, 0x1d];
    [&delivery.block()[..], &field, &[b'x'; 3_900]].concat()
}
