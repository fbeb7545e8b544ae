//! Frames that carry no message, and floods (RFC 9113 §6 and §10.5).
//!
//! h2 ends the connection at some frames for which the RFC asks for a stream error, as §5.4.1 allows.
//! The names of these cases begin with "may".

use hookgate_tests::http2_frames::{
    ACK, CONTINUATION, DATA, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame,
};

use super::peer::Verdict::{Connection, Ignored, Stream};
use super::{Cases, HOSTILE};

/// The reason `CANCEL` of RST_STREAM.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

pub(super) fn add(cases: &mut Cases) {
    add_settings(cases);
    add_control(cases);
    add_floods(cases);
}

fn add_settings(cases: &mut Cases) {
    cases.class("SETTINGS");
    for (name, setting) in [
        ("a push of 2", [0, 2, 0, 0, 0, 2]),
        ("a window of 2^31", [0, 4, 0x80, 0, 0, 0]),
        ("frames of 16 383 bytes", [0, 5, 0, 0, 0x3f, 0xff]),
        ("frames of 2^24 bytes", [0, 5, 1, 0, 0, 0]),
    ] {
        cases.frames(name, Connection, move |_| frame(SETTINGS, 0, 0, &setting));
    }
    for (name, setting) in [
        ("an unknown one", [0xfa, 0xfa, 1, 2, 3, 4]),
        ("a table of 4 GiB", [0, 1, 0xff, 0xff, 0xff, 0xff]),
        ("no streams of the server", [0, 3, 0, 0, 0, 0]),
        ("a list of 0 bytes", [0, 6, 0, 0, 0, 0]),
    ] {
        cases.frames(name, Ignored, move |_| frame(SETTINGS, 0, 0, &setting));
    }
    cases.frames("5 bytes", Connection, |_| frame(SETTINGS, 0, 0, &[0; 5]));
    cases.frames("on a stream", Connection, |_| {
        frame(SETTINGS, 0, HOSTILE, &[])
    });
    cases.frames("an acknowledgement with a setting", Connection, |_| {
        frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1])
    });
    cases.frames("an acknowledgement of nothing", Connection, |_| {
        frame(SETTINGS, ACK, 0, &[])
    });
    cases.frames("windows that overflow", Connection, |_| {
        let update = frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0, 0]);
        [
            update,
            frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        ]
        .concat()
    });
}

fn add_control(cases: &mut Cases) {
    cases.class("other frames");
    cases.frames("PING of 7 bytes", Connection, |_| {
        frame(PING, 0, 0, &[0; 7])
    });
    cases.frames("PING of 9 bytes", Connection, |_| {
        frame(PING, 0, 0, &[0; 9])
    });
    cases.frames("PING on a stream", Connection, |_| {
        frame(PING, 0, HOSTILE, &[0; 8])
    });
    cases.frames("an acknowledgement of no PING", Ignored, |_| {
        frame(PING, ACK, 0, &[9; 8])
    });
    cases.frames("RST_STREAM on stream 0", Connection, |_| {
        frame(RST_STREAM, 0, 0, &CANCEL)
    });
    cases.frames("RST_STREAM before HEADERS", Connection, |_| {
        frame(RST_STREAM, 0, HOSTILE, &CANCEL)
    });
    cases.frames("RST_STREAM of 3 bytes", Connection, |_| {
        frame(RST_STREAM, 0, 1, &[0; 3])
    });
    cases.frames("WINDOW_UPDATE of 0", Connection, |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0; 4])
    });
    cases.frames("may: WINDOW_UPDATE of 0 on a stream", Connection, |_| {
        frame(WINDOW_UPDATE, 0, 1, &[0; 4])
    });
    cases.frames("WINDOW_UPDATE before HEADERS", Connection, |_| {
        frame(WINDOW_UPDATE, 0, HOSTILE, &[0, 0, 0, 1])
    });
    cases.frames("WINDOW_UPDATE of 3 bytes", Connection, |_| {
        frame(WINDOW_UPDATE, 0, 0, &[1; 3])
    });
    let largest = [0x7f, 0xff, 0xff, 0xff];
    cases.frames("WINDOW_UPDATE above 2^31", Connection, move |_| {
        frame(WINDOW_UPDATE, 0, 0, &largest).repeat(2)
    });
    cases.frames("WINDOW_UPDATE above 2^31 on a stream", Stream, move |d| {
        [
            d.head(HOSTILE),
            frame(WINDOW_UPDATE, 0, HOSTILE, &largest).repeat(2),
        ]
        .concat()
    });
    cases.frames("PRIORITY on stream 0", Connection, |_| {
        frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1])
    });
    cases.frames("may: PRIORITY of 4 bytes", Connection, |_| {
        frame(PRIORITY, 0, HOSTILE, &[0; 4])
    });
    cases.frames("PRIORITY that depends on itself", Stream, |_| {
        frame(PRIORITY, 0, HOSTILE, &[0, 0, 0, HOSTILE as u8, 1])
    });
    cases.frames("GOAWAY of 7 bytes", Connection, |_| {
        frame(GOAWAY, 0, 0, &[0; 7])
    });
    cases.frames("GOAWAY on a stream", Connection, |_| {
        frame(GOAWAY, 0, HOSTILE, &[0; 8])
    });
}

fn add_floods(cases: &mut Cases) {
    cases.class("flood");
    cases.frames("rapid reset", Connection, |_| {
        let head = |stream| frame(HEADERS, 5, stream, b"\x83\x86\x84\x41\x01a");
        let reset = |stream| frame(RST_STREAM, 0, stream, &CANCEL);
        let streams = (0..3_000).map(|index| HOSTILE + 2 * index);
        streams
            .flat_map(|stream| [head(stream), reset(stream)].concat())
            .collect()
    });
    cases.frames("CONTINUATION", Connection, |_| {
        let more = frame(CONTINUATION, 0, HOSTILE, &[0x83; 1_000]).repeat(500);
        [frame(HEADERS, 0, HOSTILE, &[0x83]), more].concat()
    });
    cases.frames("empty CONTINUATION", Connection, |_| {
        let more = frame(CONTINUATION, 0, HOSTILE, &[]).repeat(10_000);
        [frame(HEADERS, 0, HOSTILE, &[0x83]), more].concat()
    });
    cases.frames("PING", Ignored, |_| {
        frame(PING, 0, 0, &[0; 8]).repeat(5_000)
    });
    cases.frames("SETTINGS", Ignored, |_| {
        frame(SETTINGS, 0, 0, &[]).repeat(5_000)
    });
    cases.frames("WINDOW_UPDATE", Ignored, |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(5_000)
    });
    cases.frames("PRIORITY", Ignored, |_| {
        frame(PRIORITY, 0, HOSTILE, &[0, 0, 0, 1, 1]).repeat(5_000)
    });
    cases.frames("unknown frames", Ignored, |_| {
        frame(0xfa, 0, 0, &[0; 8]).repeat(5_000)
    });
    cases.frames("empty DATA", Connection, |d| {
        [d.head(HOSTILE), frame(DATA, 0, HOSTILE, &[]).repeat(20_000)].concat()
    });
    cases.frames("malformed heads", Connection, |_| {
        let streams = (0..3_000).map(|index| HOSTILE + 2 * index);
        streams
            .flat_map(|stream| frame(HEADERS, 5, stream, &[0x83]))
            .collect()
    });
    cases.frames("streams above the limit", Stream, |d| {
        let streams = (0..300).map(|index| HOSTILE + 2 * index);
        streams.flat_map(|stream| d.head(stream)).collect()
    });
}
