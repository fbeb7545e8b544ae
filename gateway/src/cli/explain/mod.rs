//! Finds the likely cause why a captured delivery does not verify.
//!
//! The search changes one input at a time (the body, the secret, the URL or the provider) and
//! verifies again. A change that makes the delivery verify shows the cause.

mod rewritten_body;

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    Head, RequestOutcome, Scheme, Secret, UnixTime, Verifier, VerifierBuilder, VerifyError,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::capture::CaptureOptions;
use super::identify::{Candidate, FOREVER, KEYS, SchemeInputs, candidates};
use super::{Error, SigningOptions, build_error, target};

/// A captured delivery that did not verify, with the inputs of the verification.
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
    /// Returns the findings, the most certain one first. None of them contains a secret.
    pub(super) fn explain(&self) -> Result<Vec<String>, Error> {
        let mut findings: Vec<String> = self.describe_headers().into_iter().collect();
        let verifier = self.verifier(self.signing.provider.scheme(), self.secret);
        let verifier = verifier.build().map_err(build_error)?;
        // This verifier ignores the age of the delivery. Otherwise an old capture would only ever
        // be reported as too old.
        let error = match self.verify(&verifier, self.uri, self.body) {
            Ok(checked) => {
                let verified = checked.delivery();
                let signed_at = verified.and_then(|verified| verified.timestamp());
                findings.push(self.describe_age(signed_at));
                return Ok(findings);
            }
            Err(error) => error,
        };
        let mut causes: Vec<String> = self.try_other_bodies(&verifier).into_iter().collect();
        causes.extend(self.try_other_secrets());
        causes.extend(self.try_other_urls());
        if causes.is_empty() {
            causes.extend(self.try_other_providers()?);
        }
        if causes.is_empty() {
            causes.push(self.describe_unexplained(&verifier, error));
        }
        findings.extend(causes);
        Ok(findings)
    }

    /// The finding for a delivery that no attempt has made verify.
    fn describe_unexplained(&self, verifier: &Verifier, error: VerifyError) -> String {
        match error {
            VerifyError::TimestampTooOld | VerifyError::TimestampTooNew => {
                "the signature contains its own validity period, and the time of arrival is \
                 outside of it; `--at TIME` sets the time of arrival"
                    .to_owned()
            }
            VerifyError::SignatureMismatch => {
                "none of the usual causes fits: white space and line ends of the body, rewritten \
                 JSON, other readings of the secret, other spellings of the URL, other providers. \
                 Either the secret is wrong, or the body was changed"
                    .to_owned()
            }
            VerifyError::FieldMalformed => match self.malformed_header(verifier) {
                Some(name) => format!(
                    "the value of `{name}` does not have the form of the scheme: it is empty or \
                     too long, or it has a character or a number that would let the signed \
                     message be divided in two ways"
                ),
                None => self.describe_scheme(),
            },
            _ => self.describe_scheme(),
        }
    }

    fn describe_scheme(&self) -> String {
        format!(
            "`hookgate providers {}` shows what this provider sends",
            self.signing.provider.name()
        )
    }

    /// Returns the header whose value is malformed: with another value, the delivery is refused
    /// for another reason.
    fn malformed_header(&self, verifier: &Verifier) -> Option<HeaderName> {
        let scheme = self.signing.provider.scheme();
        let mut names = scheme.headers().into_iter().cloned();
        names.find(|name| {
            let mut headers = self.headers.clone();
            headers.insert(name.clone(), HeaderValue::from_static("1"));
            let head = Head::new(&self.signing.method, self.uri, &headers);
            let outcome = verifier.verify(head, self.body.clone(), self.now);
            outcome.err() != Some(VerifyError::FieldMalformed)
        })
    }

    /// Returns a builder for a verifier that accepts deliveries of any age.
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

    /// Lists the headers that the scheme reads, and marks missing and repeated ones.
    fn describe_headers(&self) -> Option<String> {
        if self.captured.has_no_headers() {
            return Some("no headers were given; add `--headers FILE`".to_owned());
        }
        let scheme = self.signing.provider.scheme();
        let headers = scheme.headers().into_iter().map(|name| {
            let count = self.headers.get_all(name).iter().count();
            match count {
                0 => format!("{name} (missing)"),
                1 => name.to_string(),
                _ => format!("{name} ({count} times)"),
            }
        });
        let headers: Vec<String> = headers.collect();
        (!headers.is_empty()).then(|| format!("the scheme reads {}", headers.join(", ")))
    }

    /// The finding for a delivery whose signature matches: only its age is wrong.
    fn describe_age(&self, signed_at: Option<UnixTime>) -> String {
        let Some(signed_at) = signed_at else {
            return "the signature matches, but the time of arrival is outside of its validity \
                    period; `--at TIME` sets the time of arrival"
                .to_owned();
        };
        let difference = self.now.secs().abs_diff(signed_at.secs());
        let difference = humantime::format_duration(Duration::from_secs(difference));
        let order = if signed_at > self.now {
            "after"
        } else {
            "before"
        };
        format!(
            "the signature matches, but it was made {difference} {order} the time of arrival. \
             For a captured delivery, set the time of arrival, such as `--at {}`",
            signed_at.secs()
        )
    }

    fn try_other_bodies(&self, verifier: &Verifier) -> Option<String> {
        if self.body.is_empty() {
            return Some("the body is empty; add `--body FILE` with its exact bytes".to_owned());
        }
        let verifies = |(_, body): &(&str, Vec<u8>)| {
            let body = Bytes::copy_from_slice(body);
            body != *self.body && self.verify(verifier, self.uri, &body).is_ok()
        };
        let (change, _) = rewritten_body::variants(self.body)
            .into_iter()
            .find(verifies)?;
        Some(format!(
            "it verifies with a changed body: {change}. A proxy, or the tool that captured the \
             delivery, has rewritten the body"
        ))
    }

    fn try_other_secrets(&self) -> Option<String> {
        let verifies = |scheme: &Scheme, secret: &Secret| {
            let verifier = self.verifier(scheme, secret).build();
            verifier.is_ok_and(|verifier| self.verify(&verifier, self.uri, self.body).is_ok())
        };
        if let Some(text) = self.secret.text() {
            let bare = text.trim().trim_matches(['"', '\'', '\u{feff}']);
            let bare = bare
                .split_once('=')
                .filter(|(name, _)| is_variable_name(name))
                .map_or(bare, |(_, value)| value);
            if bare != text
                && let Ok(secret) = Secret::new(bare)
                && verifies(self.signing.provider.scheme(), &secret)
            {
                let cause = "it verifies if the characters around the secret are removed: white \
                             space, quotes, a byte order mark or a variable name; store the secret \
                             without them";
                return Some(cause.to_owned());
            }
        }
        let name = self.signing.provider.name();
        let found = KEYS.into_iter().find(|key| {
            let text = format!("extends = {name:?}\nkey = {key}");
            Scheme::from_toml(&text).is_ok_and(|scheme| verifies(&scheme, self.secret))
        });
        found.map(|key| {
            format!(
                "it verifies if the secret is decoded differently; use a table [sources.scheme] \
                 with `extends = {name:?}` and `key = {key}`"
            )
        })
    }

    fn try_other_urls(&self) -> Option<String> {
        let verified = |url: &String| {
            let scheme = self.signing.provider.scheme();
            let verifier = self.verifier(scheme, self.secret).url(url).build().ok()?;
            self.verify(&verifier, &target(url)?, self.body).ok()
        };
        let mut others = url_variants(self.signing.url.as_ref()?).into_iter();
        let other = others.find(|url| verified(url).is_some())?;
        Some(format!(
            "it verifies with the URL {}; the provider calls this URL",
            without_user(other)
        ))
    }

    fn try_other_providers(&self) -> Result<Option<String>, Error> {
        let inputs = SchemeInputs {
            url: self.signing.url.clone(),
            params: self.signing.params.clone(),
        };
        let candidates = candidates(self.secret, &inputs, self.headers, self.body)?;
        let is_other = |candidate: &&Candidate| candidate.title() != self.signing.provider.title();
        Ok(candidates.iter().find(is_other).map(|candidate| {
            format!(
                "it verifies with the scheme of {}; `hookgate identify` lists every provider whose \
                 scheme fits",
                candidate.title()
            )
        }))
    }
}

/// Whether `text` could be the name of an environment variable.
fn is_variable_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_part)
}

/// Returns `url` without its user and password, which are secrets.
fn without_user(url: String) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url;
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url,
    }
}

/// Returns URLs that are easily confused with `url`: another scheme, with or without the query and
/// a slash at the end.
fn url_variants(url: &str) -> Vec<String> {
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
