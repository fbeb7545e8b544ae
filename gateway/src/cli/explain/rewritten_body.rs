//! The changes that proxies and capture tools commonly make to a body.

/// Returns changed bodies, each with an instruction that makes the change.
pub(super) fn variants(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(body).replace(from, to);
        text.into_bytes()
    };
    let compact = reformat(body, "", "");
    let slashes = String::from_utf8_lossy(&compact).replace("\\/", "/");
    vec![
        (
            "remove the white space at its end",
            body.trim_ascii_end().to_vec(),
        ),
        ("add a line feed at its end", [body, b"\n"].concat()),
        ("add CR LF at its end", [body, b"\r\n"].concat()),
        (
            "replace its CR LF line ends with LF",
            replaced("\r\n", "\n"),
        ),
        (
            "replace its LF line ends with CR LF",
            replaced("\n", "\r\n"),
        ),
        (
            "remove its byte order mark",
            body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).to_vec(),
        ),
        (
            "remove the white space between its JSON tokens",
            compact.clone(),
        ),
        (
            "add a blank after each comma and colon of its JSON",
            reformat(body, " ", ""),
        ),
        ("indent its JSON by two blanks", reformat(body, " ", "  ")),
        (
            "indent its JSON by four blanks",
            reformat(body, " ", "    "),
        ),
        (
            "escape its slashes",
            slashes.replace('/', "\\/").into_bytes(),
        ),
        ("unescape its slashes", slashes.into_bytes()),
    ]
}

/// Maximum nesting of JSON that is reformatted. Indenting deeper nesting could produce an output of
/// quadratic size.
const MAX_DEPTH: usize = 64;

/// Reformats JSON, and keeps its tokens.
///
/// `blank` follows each colon, and each comma if `indent` is empty. Otherwise, each value is on a
/// line of its own, indented by `indent` for each level.
fn reformat(body: &[u8], blank: &str, indent: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        if !indent.is_empty() {
            out.push(b'\n');
            out.extend(indent.repeat(depth).into_bytes());
        }
    };
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if depth > MAX_DEPTH {
            return body.to_vec();
        }
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                match bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                match indent {
                    "" => out.extend(blank.as_bytes()),
                    _ => line(&mut out, depth),
                }
            }
            b':' => {
                out.push(byte);
                out.extend(blank.as_bytes());
            }
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_reformatted_as_common_libraries_write_it() {
        let body = br#" {"a" : [1, 2,{}], "b,:" : "x \" {", "c":[ ]} "#;
        let formatted = |blank, indent| String::from_utf8(reformat(body, blank, indent)).unwrap();
        assert_eq!(formatted("", ""), r#"{"a":[1,2,{}],"b,:":"x \" {","c":[]}"#);
        assert_eq!(
            formatted(" ", ""),
            r#"{"a": [1, 2, {}], "b,:": "x \" {", "c": []}"#
        );
        assert_eq!(
            formatted(" ", "  "),
            "{\n  \"a\": [\n    1,\n    2,\n    {}\n  ],\n  \"b,:\": \"x \\\" {\",\n  \"c\": []\n}"
        );
        let deep = "[".repeat(1 << 20);
        assert_eq!(reformat(deep.as_bytes(), " ", "    "), deep.as_bytes());
    }
}
