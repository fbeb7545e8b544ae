//! Why a captured delivery does not verify: what would have to be otherwise for it to.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    Head, RequestOutcome, Scheme, Secret, UnixTime, Verifier, VerifierBuilder, VerifyError,
};
use http::{HeaderMap, Uri};

use super::capture::CaptureOptions;
use super::identify::{Candidate, FOREVER, KEYS, SchemeInputs, candidates};
use super::{Error, SigningOptions, build_error, target};

/// What was captured, and how it was checked.
pub(super) struct FailedVerification<'r> {
    pub(super) signing: &'r SigningOptions,
    pub(super) secret: &'r Secret,
    pub(super) captured: &'r CaptureOptions,
    pub(super) uri: &'r Uri,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r Bytes,
    pub(super) now: UnixTime,
}

impl FailedVerification<'_> {
    /// What is known of the cause, the surest first. Nothing in it is secret.
    pub(super) fn explain(&self) -> Result<Vec<String>, Error> {
        let mut told: Vec<String> = self.headers().into_iter().collect();
        let verifier = self.verifier(self.signing.provider.scheme(), self.secret);
        let verifier = verifier.build().map_err(build_error)?;
        // Of what is too old as well, nothing else would be known.
        let error = match self.verify(&verifier, self.uri, self.body) {
            Ok(checked) => {
                let verified = checked.delivery();
                told.push(self.late(verified.and_then(|verified| verified.timestamp())));
                return Ok(told);
            }
            Err(error) => error,
        };
        let mut causes: Vec<String> = self.other_bodies(&verifier).into_iter().collect();
        causes.extend(self.other_secrets());
        causes.extend(self.other_addresses());
        if causes.is_empty() {
            let inputs = SchemeInputs {
                url: self.signing.url.clone(),
                params: self.signing.params.clone(),
            };
            let others = candidates(self.secret, &inputs, self.headers, self.body)?;
            let is_other = |fit: &&Candidate| fit.title() != self.signing.provider.title();
            causes.extend(others.iter().find(is_other).map(|fit| {
                let title = fit.title();
                format!("it is signed as {title} signs; `hookgate identify` has all who do")
            }));
        }
        if causes.is_empty() {
            causes.push(match error {
                VerifyError::TimestampTooOld | VerifyError::TimestampTooNew => {
                    "the signature ends, or begins, by its own words: `--at` says when it arrived"
                        .to_owned()
                }
                VerifyError::SignatureMismatch => {
                    "nothing that is often the cause makes it verify: white space and line ends of \
                     the body, JSON that was written anew, other ways to read the secret, other \
                     spellings of the address, another provider. It is another secret then, or the \
                     body is not what was signed"
                        .to_owned()
                }
                _ => format!(
                    "`hookgate providers {}` shows what the provider sends",
                    self.signing.provider.name()
                ),
            });
        }
        told.extend(causes);
        Ok(told)
    }

    /// However old the delivery is by now.
    fn verifier(&self, scheme: &Scheme, secret: &Secret) -> VerifierBuilder {
        let builder = self.signing.verifier(scheme, secret.clone());
        builder.window(FOREVER)
    }

    fn verify(
        &self,
        verifier: &Verifier,
        uri: &Uri,
        body: &Bytes,
    ) -> Result<RequestOutcome, VerifyError> {
        let head = Head::new(&self.signing.method, uri, self.headers);
        verifier.verify(head, body.clone(), self.now)
    }

    /// Which headers the scheme names, if it does, and whether they are there.
    fn headers(&self) -> Option<String> {
        if self.captured.has_no_headers() {
            return Some("no headers were given: `--headers FILE` has them".to_owned());
        }
        let scheme = self.signing.provider.scheme();
        let named = scheme.headers().into_iter().map(|name| {
            let count = self.headers.get_all(name).iter().count();
            match count {
                0 => format!("{name} (missing)"),
                1 => name.to_string(),
                _ => format!("{name} ({count} times)"),
            }
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| format!("the scheme reads {}", named.join(", ")))
    }

    fn late(&self, signed: Option<UnixTime>) -> String {
        let Some(signed) = signed else {
            return "the signature is good; it is the time that is not".to_owned();
        };
        let apart = self.now.secs().abs_diff(signed.secs());
        let apart = humantime::format_duration(Duration::from_secs(apart));
        let order = if signed > self.now { "after" } else { "before" };
        format!(
            "the signature is good: it was signed {apart} {order} it is said to have arrived. Of a \
             delivery that was captured, `--at` says when that was: `--at {}`",
            signed.secs()
        )
    }

    fn other_bodies(&self, verifier: &Verifier) -> Option<String> {
        if self.body.is_empty() {
            return Some("the body is empty: `--body FILE` has it, byte for byte".to_owned());
        }
        let fits = |(_, body): &(&str, Vec<u8>)| {
            let body = Bytes::copy_from_slice(body);
            body != *self.body && self.verify(verifier, self.uri, &body).is_ok()
        };
        let (spelling, _) = spellings(self.body).into_iter().find(fits)?;
        Some(format!(
            "it verifies with a body {spelling}: something on the way, or whoever captured it, \
             has written it anew"
        ))
    }

    fn other_secrets(&self) -> Option<String> {
        let fits = |scheme: &Scheme, secret: &Secret| {
            let verifier = self.verifier(scheme, secret).build();
            verifier.is_ok_and(|verifier| self.verify(&verifier, self.uri, self.body).is_ok())
        };
        if let Some(text) = self.secret.text() {
            let bare = text.trim().trim_matches(['"', '\'', '\u{feff}']);
            let bare = bare
                .split_once('=')
                .filter(|(name, _)| is_name(name))
                .map_or(bare, |(_, v)| v);
            if bare != text
                && let Ok(secret) = Secret::new(bare)
                && fits(self.signing.provider.scheme(), &secret)
            {
                let cause = "it verifies with the secret without what is around it: white space, \
                             quotes, a byte order mark or its name, which are a part of the key";
                return Some(cause.to_owned());
            }
        }
        let name = self.signing.provider.name();
        let found = KEYS.into_iter().find(|key| {
            let text = format!("extends = {name:?}\nkey = {key}");
            Scheme::from_toml(&text).is_ok_and(|scheme| fits(&scheme, self.secret))
        });
        found.map(|key| {
            format!(
                "it verifies if the secret is read another way: a scheme of your own with \
                 `extends = {name:?}` and `key = {key}`"
            )
        })
    }

    fn other_addresses(&self) -> Option<String> {
        let fits = |url: &String| {
            let scheme = self.signing.provider.scheme();
            let verifier = self.verifier(scheme, self.secret).url(url).build().ok()?;
            self.verify(&verifier, &target(url)?, self.body).ok()
        };
        let mut others = addresses(self.signing.url.as_ref()?).into_iter();
        let other = others.find(|url| fits(url).is_some())?;
        Some(format!(
            "it verifies with the address {other}: that is what the provider calls"
        ))
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_part)
}

/// Other spellings of an address that people take for the same.
fn addresses(url: &str) -> Vec<String> {
    let mut all = Vec::new();
    let swapped = match url.split_once("://") {
        Some(("http", rest)) => Some(format!("https://{rest}")),
        Some(("https", rest)) => Some(format!("http://{rest}")),
        _ => None,
    };
    for url in std::iter::once(url.to_owned()).chain(swapped) {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (url.as_str(), String::new()),
        };
        let slash = match path.strip_suffix('/') {
            Some(bare) => bare.to_owned(),
            None => format!("{path}/"),
        };
        all.extend([
            url.clone(),
            format!("{slash}{query}"),
            path.to_owned(),
            slash,
        ]);
    }
    all
}

/// What becomes of bodies that are not kept as bytes.
fn spellings(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8_lossy(body).replace(from, to);
        text.into_bytes()
    };
    let compact = respaced(body, "", "");
    let slashes = String::from_utf8_lossy(&compact).replace("\\/", "/");
    vec![
        (
            "without the white space at its end",
            body.trim_ascii_end().to_vec(),
        ),
        ("with a line feed at its end", [body, b"\n"].concat()),
        ("with CR LF at its end", [body, b"\r\n"].concat()),
        ("whose lines end with LF, not CR LF", replaced("\r\n", "\n")),
        ("whose lines end with CR LF, not LF", replaced("\n", "\r\n")),
        (
            "without a byte order mark",
            body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).to_vec(),
        ),
        ("without white space in its JSON", compact.clone()),
        (
            "with a blank after each comma and colon of its JSON",
            respaced(body, " ", ""),
        ),
        (
            "with its JSON indented by two blanks",
            respaced(body, " ", "  "),
        ),
        (
            "with its JSON indented by four blanks",
            respaced(body, " ", "    "),
        ),
        (
            "whose slashes are escaped",
            slashes.replace('/', "\\/").into_bytes(),
        ),
        ("whose slashes are not escaped", slashes.into_bytes()),
    ]
}

/// So deep is JSON that somebody means.
const DEEPEST: usize = 64;

/// JSON with other white space between its parts: `blank` after colons, and after commas where
/// lines are not indented by `indent`.
fn respaced(body: &[u8], blank: &str, indent: &str) -> Vec<u8> {
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
        // Nobody signs such a thing, and whoever has sent it could have us write without end.
        if depth > DEEPEST {
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
    fn json_is_spaced_as_libraries_do_it() {
        let body = br#" {"a" : [1, 2,{}], "b,:" : "x \" {", "c":[ ]} "#;
        let spaced = |blank, indent| String::from_utf8(respaced(body, blank, indent)).unwrap();
        assert_eq!(spaced("", ""), r#"{"a":[1,2,{}],"b,:":"x \" {","c":[]}"#);
        assert_eq!(
            spaced(" ", ""),
            r#"{"a": [1, 2, {}], "b,:": "x \" {", "c": []}"#
        );
        assert_eq!(
            spaced(" ", "  "),
            "{\n  \"a\": [\n    1,\n    2,\n    {}\n  ],\n  \"b,:\": \"x \\\" {\",\n  \"c\": []\n}"
        );
        let deep = "[".repeat(1 << 20);
        assert_eq!(respaced(deep.as_bytes(), " ", "    "), deep.as_bytes());
    }
}
