//! Removes secrets from a request before it is stored.
//!
//! The header `authorization` and others are always removed, and so is each location from which
//! the scheme of the source reads a token, a password or a JSON Web Token. The operator adds
//! headers and JSON pointers.
//!
//! A token or password that was found is also removed from every other header. If the body
//! contains it at another place, the body is left out. Copies are found in any of the encodings
//! that [`secrets`] knows.
//!
//! A pointer does not reach into JSON inside of a string, of a form field or of base64. Therefore
//! the body is left out as a whole if it is not JSON, or if it is compressed.

mod fields;
mod json;
mod secrets;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hookgate_core::internal::{JsonStep, SecretLocation};
use hookgate_diagnose::Capture;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, SET_COOKIE, USER_AGENT};
use http::{HeaderName, HeaderValue, Uri};
use memchr::memchr;

pub(super) use self::secrets::SecretSearch;
use self::secrets::Secrets;
use super::draft::copy_headers;
use crate::config::Redaction;
use crate::inspector::compact::FactHeaders;
use crate::inspector::record::DeliveryRecord;

/// The text in place of a redacted value.
pub(super) const REDACTED: &str = "[redacted]";
/// Headers that are always removed.
const SECRET_HEADERS: [HeaderName; 14] = [
    AUTHORIZATION,
    http::header::PROXY_AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
    // The tokens of providers: a source may have been configured for the wrong provider.
    HeaderName::from_static("verification-token"),
    HeaderName::from_static("validation-token"),
    HeaderName::from_static("x-documenso-secret"),
    HeaderName::from_static("x-gitlab-token"),
    HeaderName::from_static("x-telegram-bot-api-secret-token"),
    HeaderName::from_static("x-webhook-secret"),
];
/// The parts that were removed from a request.
pub(super) struct Redacted {
    /// The names of the parts, such as `header authorization`.
    pub(super) parts: Vec<String>,
    /// Searches other texts for the secrets that were removed.
    pub(super) search: SecretSearch,
}

/// The parts that are removed so far.
#[derive(Default)]
struct Removed {
    parts: Vec<String>,
    /// The removed values that are searched for in other parts.
    secrets: Secrets,
}

impl Removed {
    fn add(&mut self, part: String) {
        if !self.parts.contains(&part) {
            self.parts.push(part);
        }
    }
}

/// Removes secrets from `capture` and from the `record` of the same request. Returns the
/// parts that were removed.
///
/// `locations` are those from which the scheme reads secrets, and `configured` are the values
/// that the operator wants to remove.
pub(super) fn redact(
    capture: &mut Capture,
    record: &mut DeliveryRecord,
    locations: &[SecretLocation],
    configured: &[Redaction],
) -> Redacted {
    let mut removed = Removed::default();
    redact_headers(capture, locations, configured, &mut removed);
    redact_query(capture, locations, &mut removed);
    redact_body(capture, locations, configured, &mut removed);
    let search = removed.secrets.search();
    let in_path = redact_copies(capture, locations, &search, &mut removed);
    if in_path {
        // The path of the record is cut, and a part of a secret is not found.
        record.path = Some(REDACTED.to_owned());
    }
    for text in texts_of(record) {
        let copied = |text: &String| search.is_in(text.as_bytes());
        if text.as_ref().is_some_and(copied) {
            *text = Some(REDACTED.to_owned());
        }
    }
    if !removed.parts.is_empty() {
        // The removed values are still in the old buffer.
        capture.headers = copy_headers(&capture.headers);
    }
    Redacted {
        parts: removed.parts,
        search,
    }
}

/// Removes the values of the headers that the operator wants to remove from a record. `headers`
/// are those of the source, if the request has one.
pub(in crate::inspector) fn redact_record(
    record: &mut DeliveryRecord,
    headers: Option<&FactHeaders>,
    configured: &[Redaction],
) {
    let has = |names: fn(&FactHeaders) -> &[HeaderName], name| {
        headers.is_some_and(|headers| names(headers).contains(name))
    };
    let hide = |text: &mut Option<String>, is_named: bool| {
        if is_named && text.is_some() {
            *text = Some(REDACTED.to_owned());
        }
    };
    for redaction in configured {
        let Redaction::Header(name) = redaction else {
            continue;
        };
        let has_event_id = has(|headers| &headers.event_id, name);
        let has_delivery_id = has(|headers| headers.delivery_id.as_slice(), name);
        hide(&mut record.user_agent, *name == USER_AGENT);
        hide(&mut record.content_type, *name == CONTENT_TYPE);
        hide(&mut record.event_id, has_event_id);
        hide(&mut record.delivery_id, has_event_id || has_delivery_id);
        hide(
            &mut record.event_type,
            has(|headers| &headers.event_type, name),
        );
    }
}

/// Returns the texts of a record that the sender has written.
fn texts_of(record: &mut DeliveryRecord) -> [&mut Option<String>; 6] {
    [
        &mut record.path,
        &mut record.event_id,
        &mut record.event_type,
        &mut record.delivery_id,
        &mut record.user_agent,
        &mut record.content_type,
    ]
}

fn redact_headers(
    capture: &mut Capture,
    locations: &[SecretLocation],
    configured: &[Redaction],
    removed: &mut Removed,
) {
    let is_secret = |name: &HeaderName| {
        let of_scheme = locations.iter().any(|location| match location {
            SecretLocation::Header(secret) => secret == name,
            SecretLocation::HeaderPrefix(prefix) => name.as_str().starts_with(prefix),
            _ => false,
        });
        of_scheme || SECRET_HEADERS.contains(name)
    };
    let names: Vec<HeaderName> = capture.headers.keys().cloned().collect();
    for name in names {
        let is_secret = is_secret(&name);
        if is_secret {
            let values = capture.headers.get_all(&name).iter();
            for value in values.map(HeaderValue::as_bytes) {
                removed.secrets.add(value);
                if name == COOKIE {
                    add_cookies(value, &mut removed.secrets);
                }
            }
        }
        if is_secret || configured.contains(&Redaction::Header(name.clone())) {
            remove_header(capture, &name, removed);
        }
    }
}

/// Adds the values of the cookies in a header (RFC 6265 §4.2.1).
fn add_cookies(header: &[u8], secrets: &mut Secrets) {
    let cookies = header.split(|byte| *byte == b';');
    let values = cookies.filter_map(|cookie| cookie.get(memchr(b'=', cookie)? + 1..));
    values.for_each(|value| secrets.add(value));
}

/// Replaces every value of the header `name`.
fn remove_header(capture: &mut Capture, name: &HeaderName, removed: &mut Removed) {
    if let http::header::Entry::Occupied(mut values) = capture.headers.entry(name) {
        let values = values.iter_mut();
        values.for_each(|value| *value = HeaderValue::from_static(REDACTED));
    }
    removed.add(format!("header {name}"));
}

fn redact_query(capture: &mut Capture, locations: &[SecretLocation], removed: &mut Removed) {
    let names: Vec<&str> = locations.iter().filter_map(query_name).collect();
    let Some((target, query)) = capture
        .target
        .as_ref()
        .and_then(|target| Some((target, target.query()?)))
    else {
        return;
    };
    let redacted = fields::redact(query.as_bytes(), &names);
    if redacted.found.is_empty() {
        return;
    }
    let path = target.path();
    let query = String::from_utf8_lossy(&redacted.fields);
    let without_query = || Uri::try_from(path).unwrap_or_default();
    let target = Uri::try_from(format!("{path}?{query}")).unwrap_or_else(|_| without_query());
    capture.target = Some(target);
    redacted
        .removed
        .iter()
        .for_each(|secret| removed.secrets.add(secret));
    redacted
        .found
        .iter()
        .for_each(|name| removed.add(format!("query {name}")));
}

fn query_name(location: &SecretLocation) -> Option<&str> {
    match location {
        SecretLocation::Query(name) => Some(name),
        _ => None,
    }
}

fn redact_body(
    capture: &mut Capture,
    locations: &[SecretLocation],
    configured: &[Redaction],
    removed: &mut Removed,
) {
    let mut paths: Vec<(String, Vec<JsonStep>)> = Vec::new();
    let mut form = Vec::new();
    let mut has_multipart = false;
    for location in locations {
        match location {
            SecretLocation::Json(steps) => {
                let name = location.to_string().replacen("json:", "", 1);
                paths.push((name, steps.clone()));
            }
            SecretLocation::Form(name) => form.push(&**name),
            SecretLocation::Multipart(_) => has_multipart = true,
            _ => {}
        }
    }
    let of_scheme = paths.len();
    for redaction in configured {
        if let Redaction::Pointer(pointer) = redaction {
            let steps = JsonStep::of_pointer(pointer).unwrap_or_default();
            paths.push((pointer.clone(), steps));
        }
    }
    let has_rules = !paths.is_empty() || !form.is_empty() || has_multipart;
    if capture.body.is_empty() || !has_rules {
        return;
    }
    // Without these rules, the body could not contain a secret.
    let is_readable = !has_multipart && !is_compressed(capture);
    let is_redacted = is_readable && redact_json(capture, &paths, of_scheme, removed)
        || is_readable && paths.is_empty() && redact_form(capture, &form, removed);
    if !is_redacted {
        leave_out_body(capture, removed);
    }
}

fn leave_out_body(capture: &mut Capture, removed: &mut Removed) {
    capture.body = Bytes::new();
    removed.add("body".to_owned());
}

/// Whether the body has a content coding (RFC 9110 §8.4).
fn is_compressed(capture: &Capture) -> bool {
    let codings = capture.headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.map(HeaderValue::as_bytes);
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Removes the values at `paths`. Returns false if there are none, or if the body is not JSON.
/// The scheme reads secrets from the first `of_scheme` paths.
fn redact_json(
    capture: &mut Capture,
    paths: &[(String, Vec<JsonStep>)],
    of_scheme: usize,
    removed: &mut Removed,
) -> bool {
    let steps: Vec<&[JsonStep]> = paths.iter().map(|(_, steps)| &**steps).collect();
    if steps.is_empty() {
        return false;
    }
    let Some(redacted) = json::redact(&capture.body, &steps) else {
        return false;
    };
    for path in &redacted.found {
        removed.add(format!("body {}", paths[*path].0));
    }
    // A value that the operator wants to remove may be an ordinary word.
    let secrets = redacted
        .removed
        .iter()
        .filter(|(path, _)| *path < of_scheme);
    secrets.for_each(|(_, secret)| removed.secrets.add(secret.as_bytes()));
    if !redacted.found.is_empty() {
        capture.body = redacted.body.into();
    }
    true
}

/// Removes the fields `names`. Returns false if the body is not a form.
fn redact_form(capture: &mut Capture, names: &[&str], removed: &mut Removed) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let media_type = capture.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = media_type.and_then(|value| value.split(|byte| *byte == b';').next());
    if !media_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(FORM)) {
        return false;
    }
    let redacted = fields::redact(&capture.body, names);
    let secrets = redacted.removed.iter();
    secrets.for_each(|secret| removed.secrets.add(secret));
    for name in &redacted.found {
        removed.add(format!("body {name}"));
    }
    capture.body = redacted.fields.into();
    true
}

/// Removes the secrets that were found from the parts of the request that remain. Returns whether
/// the path contained one.
fn redact_copies(
    capture: &mut Capture,
    locations: &[SecretLocation],
    search: &SecretSearch,
    removed: &mut Removed,
) -> bool {
    let fields: Vec<&str> = locations.iter().filter_map(query_name).collect();
    let is_copy = |value: &[u8]| {
        value != REDACTED.as_bytes() && (search.is_in(value) || has_field(value, &fields))
    };
    let headers = capture.headers.iter();
    let with_secret = headers.filter(|(_, value)| is_copy(value.as_bytes()));
    let names: Vec<HeaderName> = with_secret.map(|(name, _)| name.clone()).collect();
    for name in names {
        remove_header(capture, &name, removed);
    }
    let mut in_path = false;
    if let Some(target) = &capture.target
        && search.is_in(target.to_string().as_bytes())
    {
        let path = target.path();
        in_path = search.is_in(path.as_bytes());
        let path = if in_path { "/" } else { path };
        capture.target = Some(Uri::try_from(path).unwrap_or_default());
        removed.add("query".to_owned());
    }
    // A compressed body can hide a copy.
    let may_hide = !search.is_empty() && !capture.body.is_empty() && is_compressed(capture);
    if may_hide || search.is_in(&capture.body) {
        leave_out_body(capture, removed);
    }
    in_path
}

/// Whether `value` contains a URL whose query has one of the fields `names`. A proxy copies the
/// URL of a request into headers such as `x-forwarded-uri`.
fn has_field(value: &[u8], names: &[&str]) -> bool {
    if names.is_empty() {
        return false;
    }
    let value = secrets::canonical(value);
    let fields = value.split(|byte| matches!(byte, b'?' | b'&'));
    let mut found = fields.filter_map(|field| field.get(..memchr(b'=', field)?));
    found.any(|found| {
        let mut names = names.iter();
        names.any(|name| *secrets::canonical(name.as_bytes()) == *found)
    })
}
