//! Requests whose fields break RFC 9113 §8, in frames that are right. A request is malformed, and thus a
//! stream error (§8.1.1).
//!
//! h2 reads names and values together with their compression, so a byte that no field may have is a
//! connection error, as §5.4.1 allows. The names of these cases say "may".

use hookgate_tests::http2_frames::{DATA, END_HEADERS, END_STREAM, HEADERS, frame};

use super::peer::Verdict::{Connection, Forwarded, Stream};
use super::{Cases, HOSTILE, SIGNATURES};

pub(super) fn add(cases: &mut Cases) {
    add_names_and_values(cases);
    add_pseudo_headers(cases);
    add_targets(cases);
    add_lengths(cases);
    add_signatures(cases);
}

fn add_names_and_values(cases: &mut Cases) {
    cases.class("field");
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-beatapi-signature"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
    ] {
        cases.request(&format!("{name}: {value}"), Stream, move |d| {
            d.with(name, value)
        });
    }
    cases.request("te: trailers", Forwarded, |d| d.with("te", "trailers"));
    for (title, name, value) in [
        ("a name in upper case", "X-Upper", &b"a"[..]),
        ("an empty name", "", b"a"),
        ("a name with a blank", "x a", b"a"),
        ("a name with a colon", "x:a", b"a"),
        ("a name with CR LF", "x\r\ny", b"a"),
        ("a name with NUL", "x\0", b"a"),
        ("a value with CR LF", "x", b"a\r\nx-b: c"),
        ("a value with LF", "x", b"a\nb"),
        ("a value with CR", "x", b"a\rb"),
        ("a value with NUL", "x", b"a\0b"),
        (
            "a value with a request",
            "x",
            b"a\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        ),
        (
            "Transfer-Encoding in upper case",
            "Transfer-Encoding",
            b"chunked",
        ),
    ] {
        cases.request(&format!("may: {title}"), Connection, move |d| {
            d.with(name, value)
        });
    }
    cases.request("101 fields", Stream, |d| {
        (0..101).fold(d, |d, index| d.with(&format!("x-{index}"), "a"))
    });
    cases.request("a value of 15 000 bytes", Forwarded, |d| {
        d.with("x", [b'a'; 15_000])
    });
    cases.request("aliases of signed fields", Forwarded, |d| {
        d.with("x_beatapi_signature", "00")
            .with("transfer_encoding", "chunked")
            .with("hookgate-verified", "yes")
    });
}

fn add_pseudo_headers(cases: &mut Cases) {
    cases.class("pseudo-header");
    for name in [":method", ":scheme", ":path"] {
        cases.request(&format!("no {name}"), Stream, move |d| d.without(name));
    }
    cases.request("no :authority", Stream, |d| d.without(":authority"));
    cases.request("host in place of :authority", Forwarded, |d| {
        d.without(":authority").with("host", "hooks.example")
    });
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/hooks/beatapi"),
        (":path", "/smuggled"),
        (":authority", "other"),
    ] {
        cases.request(&format!("{name} {value} again"), Stream, move |d| {
            d.with_first(name, value)
        });
    }
    for name in [":method", ":path", ":authority"] {
        cases.request(&format!("{name} behind the fields"), Stream, move |d| {
            let value = d.value(name);
            d.without(name).with(name, value)
        });
    }
    cases.request(":status", Stream, |d| d.with_first(":status", "200"));
    cases.request("may: an unknown one", Connection, |d| {
        d.with_first(":foo", "a")
    });
    cases.request(":protocol without CONNECT", Stream, |d| {
        d.with_first(":protocol", "websocket")
    });
    cases.request("CONNECT", Stream, |d| d.replace(":method", "CONNECT"));
    for (title, value) in [
        ("an empty method", &b""[..]),
        ("a method with a blank", b"POST /"),
        ("a method with CR LF", b"POST / HTTP/1.1\r\nx: "),
    ] {
        cases.request(&format!("may: {title}"), Connection, move |d| {
            d.replace(":method", value)
        });
    }
    for method in ["GET", "HEAD", "post", "OPTIONS", "PRI"] {
        cases.request(&format!("the method {method}"), Stream, move |d| {
            d.replace(":method", method)
        });
    }
    // h2 accepts it. The gateway takes the scheme from its own listener.
    cases.request("an empty scheme", Forwarded, |d| d.replace(":scheme", ""));
    cases.request("a scheme with a target", Stream, |d| {
        d.replace(":scheme", "http://other/smuggled?")
    });
    for (title, value) in [
        ("an empty :authority", &b""[..]),
        ("a user in :authority", b"user@hooks.example"),
        ("a path in :authority", b"hooks.example/smuggled"),
        ("a blank in :authority", b"hooks.example x"),
        ("a port of -1", b"hooks.example:-1"),
    ] {
        cases.request(title, Stream, move |d| d.replace(":authority", value));
    }
    cases.request("two hosts", Stream, |d| {
        d.with("host", "a").with("host", "b")
    });
}

fn add_targets(cases: &mut Cases) {
    cases.class(":path");
    for path in [
        "",
        "*",
        "hooks/beatapi",
        "?a",
        "//hooks/beatapi",
        "/hooks//beatapi",
        "/hooks/../hooks/beatapi",
        "/hooks/beatapi/",
        "/hooks/beatapi%00",
        "/hooks/%62eatapi",
        "/hooks/beatapi;x",
        "http://hooks.example/hooks/beatapi",
        "http://other/smuggled",
        "/hooks/beatapi HTTP/1.1",
        "/hooks/beatapi\t",
        "/hooks/beatapi\x7f",
        "\\hooks\\beatapi",
    ] {
        cases.request(&path.escape_default().to_string(), Stream, move |d| {
            d.replace(":path", path)
        });
    }
    // docs/pitfalls.md has the fragment, which h2 drops.
    for path in ["/hooks/beatapi#fragment", "/hooks/beatapi?query"] {
        cases.request(path, Forwarded, move |d| d.replace(":path", path));
    }
    for path in [
        "/hooks/beatapi\r\nx: y",
        "/hooks/beatapi\0",
        "/hooks/beatapi\n",
    ] {
        cases.request(&path.escape_default().to_string(), Stream, move |d| {
            d.replace(":path", path)
        });
    }
}

fn add_lengths(cases: &mut Cases) {
    cases.class("content-length");
    cases.request("of the body", Forwarded, |d| {
        let length = d.body.len().to_string();
        d.with("content-length", length)
    });
    for (title, change) in [
        ("1 above", 1),
        ("1 below", -1),
        ("1 000 000 above", 1_000_000),
    ] {
        cases.request(&format!("{title} the body"), Stream, move |d| {
            let length = d.body.len().saturating_add_signed(change).to_string();
            d.with("content-length", length)
        });
    }
    for value in [
        "0",
        "",
        "-1",
        "+5",
        "0x5",
        "5, 5",
        "5 5",
        "99999999999999999999",
    ] {
        cases.request(&format!("{value:?}"), Stream, move |d| {
            d.with("content-length", value)
        });
    }
    cases.request("the plus of the body", Stream, |d| {
        let length = format!("+{}", d.body.len());
        d.with("content-length", length)
    });
    cases.request("twice", Stream, |d| {
        let length = d.body.len().to_string();
        d.with("content-length", &length)
            .with("content-length", &length)
    });
    cases.request("two lengths", Stream, |d| {
        let length = d.body.len().to_string();
        d.with("content-length", length).with("content-length", "0")
    });
    cases.frames("without a body", Stream, |d| {
        let head = d.clone().with("content-length", "5");
        frame(HEADERS, END_HEADERS | END_STREAM, HOSTILE, &head.block())
    });
    cases.frames("two bodies in frames", Stream, |d| {
        let head = d.clone().with("content-length", d.body.len().to_string());
        let body = frame(DATA, 0, HOSTILE, &d.body);
        [head.head(HOSTILE), body, d.data(HOSTILE)].concat()
    });
}

fn add_signatures(cases: &mut Cases) {
    cases.class(SIGNATURES);
    cases.request("none", Stream, |d| d.without("x-beatapi-signature"));
    cases.request("of another body", Stream, |mut d| {
        d.body = bytes::Bytes::from_static(b"{\"id\":\"evt_forged\"}");
        d
    });
    cases.request("twice", Stream, |d| {
        let value = d.value("x-beatapi-signature");
        d.with("x-beatapi-signature", value)
    });
    cases.frames("a request of HTTP/1 in the body", Stream, |d| {
        let smuggled = b"POST /hooks/beatapi HTTP/1.1\r\nHost: hooks.example\r\n\r\n";
        [d.head(HOSTILE), frame(DATA, END_STREAM, HOSTILE, smuggled)].concat()
    });
    cases.frames(
        "a body without an end, and then a genuine delivery",
        Stream,
        |d| {
            let forged = d.clone().replace("x-beatapi-signature", "sha256=00");
            let unended = [forged.head(HOSTILE), frame(DATA, 0, HOSTILE, &d.body)].concat();
            let other = d.clone().without("x-beatapi-timestamp");
            [unended, other.request(HOSTILE + 2)].concat()
        },
    );
}
