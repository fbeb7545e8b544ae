//! Raw requests that two parsers may read in two ways, after the classes of the literature on
//! request smuggling. Each one is a genuine delivery with one deviation, and has another request
//! behind it or in its body.

use bytes::Bytes;
use hookgate_tests::{TestProvider, now};

/// A raw request.
pub(super) struct Case {
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The request that an attacker hides.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: hooks.example\r\n\r\n";

/// Spellings of the name `Transfer-Encoding`.
const CODING_NAMES: &[&str] = &[
    "Transfer-Encoding",
    "transfer-encoding",
    "TRANSFER-ENCODING",
    "Transfer-Encoding ",
    "Transfer-Encoding\t",
    " Transfer-Encoding",
    "\tTransfer-Encoding",
    "Transfer_Encoding",
    "Transfer.Encoding",
    "Transfer-Encoding\0",
    "\x0bTransfer-Encoding",
    "Transfer\rEncoding",
    "X: x\nTransfer-Encoding",
    "X: x\rTransfer-Encoding",
    "X:\r\n Transfer-Encoding",
    "Connection: transfer-encoding\r\nTransfer-Encoding",
];

/// Values of `Transfer-Encoding`.
const CODINGS: &[&str] = &[
    "Chunked",
    "CHUNKED",
    " chunked",
    "\tchunked",
    "chunked ",
    "chunked\t",
    "\x0bchunked",
    "\x0cchunked",
    "chunked\x0b",
    "chunked\0",
    "\0chunked",
    "xchunked",
    "chunkedx",
    "chunk",
    "'chunked'",
    "\"chunked\"",
    "chunked;q=1",
    "chunked, identity",
    "identity, chunked",
    "chunked, chunked",
    "chunked,",
    ",chunked",
    "gzip, chunked",
    "identity",
    "cow",
    "",
    "\r\n chunked",
    "x\r\n chunked",
    "chun\r\n ked",
    "chunked\r\nTransfer-Encoding: identity",
    "identity\r\nTransfer-Encoding: chunked",
    "\u{ff43}hunked",
    "ch\u{d4}nked",
];

/// Values of `Content-Length`. `N` is the length of the body.
const LENGTHS: &[&str] = &[
    "+N",
    "-N",
    "-1",
    "0",
    "00N",
    "0xN",
    "N.0",
    "Ne0",
    "N,",
    ",N",
    "N, N",
    "N, 0",
    "0, N",
    "N N",
    "N\t",
    "\x0bN",
    "N\x0b",
    "N\0",
    "\0N",
    "N;",
    "N_0",
    "'N'",
    "\"N\"",
    "",
    " ",
    "18446744073709551617",
    "99999999999999999999",
    "4294967296",
    "\u{ff11}",
    "\r\n N",
    "N\r\n 0",
    "N\r\nContent-Length: 0",
    "0\r\nContent-Length: N",
    "N\r\nContent-Length: N",
    "N\r\nContent-Length: +N",
    "N\r\ncontent-length: 0",
    "N\r\nContent_Length: 0",
    "N\r\nContent-Length : 0",
    "N\r\nX: x\nContent-Length: 0",
    "N\r\nConnection: content-length",
];

/// Lines before a chunk of five bytes, with their ends.
const SIZE_LINES: &[&str] = &[
    "+5\r\n",
    "-5\r\n",
    "0x5\r\n",
    "5h\r\n",
    " 5\r\n",
    "\t5\r\n",
    "5 \r\n",
    "5\t\r\n",
    "05\r\n",
    "0000000000000005\r\n",
    "5;\r\n",
    "5;a\r\n",
    "5;a=b\r\n",
    "5 ;a\r\n",
    "5;a=\"\r\n",
    "5;\n\r\n",
    "5;a\nb\r\n",
    "5;a\rb\r\n",
    "5;\0\r\n",
    "5\n",
    "5\r",
    "5\r\r\n",
    "5\n\r\n",
    "5,5\r\n",
    "5_\r\n",
    "\r\n",
    "\r\n5\r\n",
    "100000005\r\n",
    "10000000000000005\r\n",
    "fffffffffffffffb\r\n",
    "5\0\r\n",
    "\x0b5\r\n",
    "5\x0c\r\n",
    "5\u{a0}\r\n",
    "g\r\n",
    "0 5\r\n",
];

/// Endings of a chunked body in place of `0` and an empty line.
const ENDINGS: &[&str] = &[
    "0\n\r\n",
    "0\r\n\n",
    "0\n\n",
    "0\r\r\n",
    "0\r\n\r",
    "0;x\r\n\r\n",
    "0 \r\n\r\n",
    "00\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "0\r\nTransfer-Encoding: x\r\n\r\n",
    "0\r\nX\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\n X: y\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "+0\r\n\r\n",
    "-0\r\n\r\n",
    "0x0\r\n\r\n",
    "\r\n0\r\n\r\n",
];

/// Field lines that are added to a delivery.
const FIELDS: &[&str] = &[
    "X: a\nHost: b",
    "X: a\r\n b",
    "X: a\r\n\tb",
    "X: a\0b",
    "X: a\rb",
    "X: a\x0bb",
    "X",
    ":",
    ": a",
    "X Y: a",
    "X\t: a",
    "X : a",
    "X\0: a",
    "\x01: a",
    "(X): a",
    "X[0]: a",
    "X: \x7f",
    "\r\nX: a",
    "Upgrade: websocket",
    "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "Connection: upgrade\r\nUpgrade: x",
    "Expect: 100-continue",
    "Expect: 100-continu",
    "Expect: x\r\nExpect: 100-continue",
    "Connection: close, x-beatapi-signature",
    "Connection: host",
    "Connection: transfer-encoding, content-length",
    "Connection: keep-alive, close",
    "Keep-Alive: timeout=5\r\nProxy-Connection: close",
    "TE: trailers, chunked",
    "Trailer: x",
    "Host: other",
    "Host : other",
    "host: hooks.example",
    "Host: hooks.example, other",
    "X-HTTP-Method-Override: GET",
    "Content-Encoding: gzip",
    "Content-Type: a\r\nContent-Type: b",
    "X-Beatapi-Signature: 00",
    "X_Beatapi_Signature: 00",
    "X-Beatapi-Timestamp : 1",
    "hookgate-verified: true",
    "Hookgate_Verified: true",
    "X-Forwarded-For: 127.0.0.1",
    "X-Original-URL: /smuggled",
    "X-Rewrite-URL: /smuggled",
    "Range: bytes=0-1",
    "Max-Forwards: 0",
];

/// Request lines in place of that of the delivery.
const REQUEST_LINES: &[&str] = &[
    "POST /hooks/beatapi HTTP/1.0",
    "POST /hooks/beatapi HTTP/0.9",
    "POST /hooks/beatapi HTTP/1.2",
    "POST /hooks/beatapi HTTP/2.0",
    "POST /hooks/beatapi HTTP/1.1 ",
    "POST /hooks/beatapi  HTTP/1.1",
    "POST  /hooks/beatapi HTTP/1.1",
    "POST\t/hooks/beatapi HTTP/1.1",
    " POST /hooks/beatapi HTTP/1.1",
    "POST /hooks/beatapi HTTP/1.1\r",
    "POST /hooks/beatapi\x0bHTTP/1.1",
    "POST /hooks/beatapi http/1.1",
    "POST /hooks/beatapi HTTP/01.1",
    "POST /hooks/beatapi HTTP/1.10",
    "POST /hooks/beatapi HTTP/1,1",
    "POST /hooks/beatapi",
    "POST /hooks/beatapi XHTTP/1.1",
    "post /hooks/beatapi HTTP/1.1",
    "POST\0 /hooks/beatapi HTTP/1.1",
    "GET /hooks/beatapi HTTP/1.1",
    "HEAD /hooks/beatapi HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "OPTIONS /hooks/beatapi HTTP/1.1",
    "TRACE /hooks/beatapi HTTP/1.1",
    "CONNECT hooks.example:80 HTTP/1.1",
    "CONNECT /hooks/beatapi HTTP/1.1",
    "PUT /hooks/beatapi HTTP/1.1",
    "PRI * HTTP/2.0",
    "GET /smuggled HTTP/1.1\n\nPOST /hooks/beatapi HTTP/1.1",
    "POST http://hooks.example/hooks/beatapi HTTP/1.1",
    "POST http://other/hooks/beatapi HTTP/1.1",
    "POST https://hooks.example/hooks/beatapi HTTP/1.1",
    "POST http://hooks.example@other/hooks/beatapi HTTP/1.1",
    "POST //hooks.example/hooks/beatapi HTTP/1.1",
    "POST hooks/beatapi HTTP/1.1",
    "POST * HTTP/1.1",
    "POST /hooks/beatapi#f HTTP/1.1",
    "POST /hooks/beatapi?x#f HTTP/1.1",
    "POST /hooks/beatapi?a b HTTP/1.1",
    "POST /hooks/beatapi%0d%0aX:%20y HTTP/1.1",
    "POST /hooks/beatapi%20HTTP/1.1 HTTP/1.1",
    "POST /hooks/./beatapi HTTP/1.1",
    "POST /hooks/x/../beatapi HTTP/1.1",
    "POST /hooks/%62eatapi HTTP/1.1",
    "POST /hooks/beatapi/ HTTP/1.1",
    "POST /hooks//beatapi HTTP/1.1",
    "POST /hooks/beatapi;x HTTP/1.1",
    "POST /hooks\\beatapi HTTP/1.1",
    "POST /hooks/beatapi%00 HTTP/1.1",
    "POST /hooks/beatapi\0 HTTP/1.1",
    "POST /hooks/beatapi\u{e9} HTTP/1.1",
    "POST /../hooks/beatapi HTTP/1.1",
    "POST /HOOKS/beatapi HTTP/1.1",
];

/// Line ends of the head, in place of CR LF.
const LINE_ENDS: &[&str] = &[
    "\n", "\r", "\n\r", "\r\r\n", "\r\n\n", "\0\r\n", " \r\n", "\x0b\r\n", "\u{85}", "\u{2028}",
];

/// A genuine delivery in parts.
struct Delivery {
    fields: Vec<String>,
    body: Bytes,
}

impl Delivery {
    fn new(number: usize) -> Self {
        let provider = TestProvider::named("beatapi");
        let id = format!("desync_{number}");
        let body = provider.body(&id);
        let signed = provider.sign(&body, now(), &id);
        let mut fields = vec!["Host: hooks.example".to_owned()];
        fields.extend(signed.iter().map(|(name, value)| {
            format!("{name}: {}", value.to_str().expect("the value is text"))
        }));
        Self { fields, body }
    }

    /// Returns a request with another line, other framing fields, and these bytes after its head.
    fn write(&self, line: &str, framing: &[String], after: &[u8], line_end: &str) -> Vec<u8> {
        let mut lines = vec![line.to_owned()];
        lines.extend(self.fields.iter().cloned());
        lines.extend_from_slice(framing);
        let head = lines.join(line_end) + line_end + line_end;
        [head.as_bytes(), after].concat()
    }

    fn request(&self, framing: &[String], after: &[u8]) -> Vec<u8> {
        self.write("POST /hooks/beatapi HTTP/1.1", framing, after, "\r\n")
    }

    fn length(&self) -> String {
        format!("Content-Length: {}", self.body.len())
    }

    /// Returns the body in one chunk, without the last one.
    fn chunk(&self) -> Vec<u8> {
        let size = format!("{:x}\r\n", self.body.len());
        [size.as_bytes(), &self.body, b"\r\n"].concat()
    }

    fn chunked(&self) -> Vec<u8> {
        [&self.chunk()[..], b"0\r\n\r\n"].concat()
    }
}

/// Collects the cases, each with a delivery of its own event.
#[derive(Default)]
struct Corpus {
    cases: Vec<Case>,
}

impl Corpus {
    fn add(&mut self, class: &'static str, name: String, write: impl Fn(&Delivery) -> Vec<u8>) {
        let delivery = Delivery::new(self.cases.len());
        let bytes = [write(&delivery), SMUGGLED.into()].concat();
        self.cases.push(Case { class, name, bytes });
    }
}

/// Returns all cases. The deliveries are signed now.
pub(super) fn corpus() -> Vec<Case> {
    let mut corpus = Corpus::default();
    add_codings(&mut corpus);
    add_lengths(&mut corpus);
    add_chunks(&mut corpus);
    add_heads(&mut corpus);
    add_pipelines(&mut corpus);
    corpus.cases
}

/// CL.TE, TE.CL and TE.TE: the coding is hidden from one of two parsers.
fn add_codings(corpus: &mut Corpus) {
    let each_name = CODING_NAMES.iter().map(|name| (*name, "chunked"));
    let each_value = CODINGS.iter().map(|value| ("Transfer-Encoding", *value));
    for (name, value) in each_name.chain(each_value) {
        let coding = format!("{name}: {value}");
        let label = format!("{coding:?}");
        corpus.add("TE", label.clone(), |d| {
            d.request(std::slice::from_ref(&coding), &d.chunked())
        });
        corpus.add("CL.TE", label.clone(), |d| {
            let body = [b"0\r\n\r\n", SMUGGLED.as_bytes()].concat();
            d.request(
                &[format!("Content-Length: {}", body.len()), coding.clone()],
                &body,
            )
        });
        corpus.add("TE.CL", label.clone(), |d| {
            d.request(
                &[coding.clone(), "Content-Length: 4".to_owned()],
                &d.chunked(),
            )
        });
        corpus.add("CL with TE", label.clone(), |d| {
            d.request(&[d.length(), coding.clone()], &d.body)
        });
        corpus.add("TE over HTTP/1.0", label, |d| {
            d.write(
                "POST /hooks/beatapi HTTP/1.0",
                std::slice::from_ref(&coding),
                &d.chunked(),
                "\r\n",
            )
        });
    }
}

fn add_lengths(corpus: &mut Corpus) {
    for value in LENGTHS {
        corpus.add("CL", format!("{value:?}"), |d| {
            let value = value.replace('N', &d.body.len().to_string());
            d.request(&[format!("Content-Length: {value}")], &d.body)
        });
        corpus.add("CL with a name in lower case", format!("{value:?}"), |d| {
            let value = value.replace('N', &d.body.len().to_string());
            d.request(&[format!("content-length:{value}")], &d.body)
        });
    }
    for name in [
        "Content-Length ",
        "Content_Length",
        " Content-Length",
        "Content-Length\0",
        "Content-Length\t",
    ] {
        corpus.add("CL", name.to_owned(), |d| {
            d.request(&[format!("{name}: {}", d.body.len())], &d.body)
        });
    }
    for (name, change) in [
        ("shorter", -5_isize),
        ("longer", 5),
        ("as the smuggled request", SMUGGLED.len() as isize),
    ] {
        corpus.add("CL of another length", name.to_owned(), |d| {
            let length = d.body.len().saturating_add_signed(change);
            d.request(&[format!("Content-Length: {length}")], &d.body)
        });
    }
}

fn add_chunks(corpus: &mut Corpus) {
    let coding = ["Transfer-Encoding: chunked".to_owned()];
    for line in SIZE_LINES {
        corpus.add("chunk size", format!("{line:?}"), |d| {
            let (first, rest) = d.body.split_at(5);
            let rest_size = format!("\r\n{:x}\r\n", rest.len());
            let wire = [
                line.as_bytes(),
                first,
                rest_size.as_bytes(),
                rest,
                b"\r\n0\r\n\r\n",
            ];
            d.request(&coding, &wire.concat())
        });
    }
    for end in ENDINGS {
        corpus.add("last chunk", format!("{end:?}"), |d| {
            d.request(&coding, &[&d.chunk()[..], end.as_bytes()].concat())
        });
    }
    for end in [
        "", "\n", "\r", "X\r\n", "\n\r\n", "\r\r\n", " \r\n", "\0\r\n",
    ] {
        corpus.add("end of a chunk", format!("{end:?}"), |d| {
            let size = format!("{:x}\r\n", d.body.len());
            let wire = [size.as_bytes(), &d.body, end.as_bytes(), b"0\r\n\r\n"];
            d.request(&coding, &wire.concat())
        });
    }
}

fn add_heads(corpus: &mut Corpus) {
    for field in FIELDS {
        corpus.add("field", format!("{field:?}"), |d| {
            d.request(&[(*field).to_owned(), d.length()], &d.body)
        });
        corpus.add("field of a chunked request", format!("{field:?}"), |d| {
            let framing = ["Transfer-Encoding: chunked".to_owned(), (*field).to_owned()];
            d.request(&framing, &d.chunked())
        });
    }
    for line in REQUEST_LINES {
        corpus.add("request line", format!("{line:?}"), |d| {
            d.write(line, &[d.length()], &d.body, "\r\n")
        });
        corpus.add("request line without a length", format!("{line:?}"), |d| {
            d.write(line, &[], &d.body, "\r\n")
        });
    }
    for end in LINE_ENDS {
        corpus.add("line end", format!("{end:?}"), |d| {
            d.write("POST /hooks/beatapi HTTP/1.1", &[d.length()], &d.body, end)
        });
        corpus.add("last line end", format!("{end:?}"), |d| {
            let framing = [format!("{}{end}", d.length())];
            d.request(&framing, &d.body)
        });
    }
}

/// CL.0 and pipelining: another request follows a genuine one, or an empty one.
fn add_pipelines(corpus: &mut Corpus) {
    for before in ["", "\r\n", "\n", "\r\n\r\n", " ", "\0", "x"] {
        corpus.add("bytes before a request", format!("{before:?}"), |d| {
            [before.as_bytes(), &d.request(&[d.length()], &d.body)].concat()
        });
        corpus.add("bytes behind a request", format!("{before:?}"), |d| {
            [&d.request(&[d.length()], &d.body), before.as_bytes()].concat()
        });
    }
    corpus.add("CL.0", "a request in the body".to_owned(), |d| {
        d.request(
            &[format!("Content-Length: {}", SMUGGLED.len())],
            SMUGGLED.as_bytes(),
        )
    });
    corpus.add("CL.0", "no framing".to_owned(), |d| {
        d.request(&[], SMUGGLED.as_bytes())
    });
    corpus.add("pipeline", "twice".to_owned(), |d| {
        d.request(&[d.length()], &d.body).repeat(2)
    });
}
