//! Signs that a header of the scheme is missing, repeated or malformed.

use hookgate_core::VerifyError;
use hookgate_core::internal::{Format, formats};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::{self, Likeness};
use super::{date, list, only, read_headers, repeated, timestamp};
use crate::attempt::{Age, Case};
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

/// A timestamp this far from the time of arrival has another unit than the scheme's.
const FAR: i64 = 5 * 365 * 24 * 3600;

/// Returns the signs of a cause of this kind that no verification proves.
pub(crate) fn signs(case: Case<'_>) -> Vec<Sign> {
    let setup = case.setup;
    let headers = &case.capture.headers;
    let formats = formats(&setup.scheme, setup.variant.as_deref());
    let read = read_headers(case, &formats);
    let mut signs = Vec::new();
    let mut push = |cause, strength| signs.push(Sign { cause, strength });
    for (cause, strength) in repeated_signs(headers, &read, &formats) {
        push(cause, strength);
    }
    let Some(format) = likely_format(headers, &formats) else {
        return signs;
    };
    if let Some((cause, strength)) = missing(case, format, &read) {
        push(cause, strength);
    }
    if let Some((cause, strength)) = malformed_signature(case, format) {
        push(cause, strength);
    }
    if let Some(cause) = lost_timestamp(case, format) {
        push(cause, Strength::Certain);
    }
    for field in timestamp::fields(headers, &[format]) {
        let parsed = format.parse_timestamp(field.text);
        let is_far =
            parsed.is_some_and(|at| at.secs().abs_diff(case.now.secs()) > FAR.unsigned_abs());
        match (parsed, date::parse(field.text)) {
            (None, Some(instant)) => push(timestamp::cause(&field, instant), Strength::Certain),
            (Some(_), Some(instant)) if is_far => {
                push(timestamp::cause(&field, instant), Strength::Strong);
            }
            (None, None) => {
                let summary = format!("the timestamp in `{}` is not a time", field.header);
                push(Cause::new(Code::HeaderAltered, summary), Strength::Certain);
            }
            (Some(_), _) => {}
        }
    }
    signs
}

/// Returns the format whose signature is there, or else the first one.
fn likely_format<'f>(headers: &HeaderMap, formats: &[Format<'f>]) -> Option<Format<'f>> {
    let is_there = |format: &&Format<'_>| {
        let names = format.signature_headers();
        names.iter().any(|name| headers.contains_key(*name))
    };
    formats.iter().find(is_there).or(formats.first()).copied()
}

/// Returns the signs of headers that occur more than once, or beside those of another scheme.
fn repeated_signs(
    headers: &HeaderMap,
    read: &[&HeaderName],
    formats: &[Format<'_>],
) -> Vec<(Cause, Strength)> {
    let mut signs = Vec::new();
    for name in read {
        let values: Vec<&HeaderValue> = headers.get_all(*name).iter().collect();
        if values.len() > 1 {
            let summary = repeated::describe(name, &values);
            signs.push((Cause::new(Code::HeaderRepeated, summary), Strength::Strong));
        }
    }
    for format in formats {
        let forbidden = format.forbidden_headers().iter();
        let present: Vec<&HeaderName> = forbidden
            .filter(|name| headers.contains_key(*name))
            .collect();
        let own = format.signature_headers();
        let has_own = own.iter().any(|name| headers.contains_key(*name));
        if !present.is_empty() && has_own {
            let summary = format!(
                "headers of two schemes are side by side: {} beside {}",
                list(&present),
                list(&own)
            );
            signs.push((Cause::new(Code::HeaderRepeated, summary), Strength::Certain));
        }
    }
    signs
}

/// Returns the sign that headers without which no delivery verifies are missing.
fn missing(case: Case<'_>, format: Format<'_>, read: &[&HeaderName]) -> Option<(Cause, Strength)> {
    let headers = &case.capture.headers;
    let is_missing = |name: &&HeaderName| !headers.contains_key(*name);
    let signature = format.signature_headers();
    let lacks_signature = !signature.is_empty() && signature.iter().all(is_missing);
    let required = format.required_headers().into_iter().filter(is_missing);
    let first_signature = signature.first().copied().filter(|_| lacks_signature);
    let missing: Vec<&HeaderName> = first_signature.into_iter().chain(required).collect();
    if missing.is_empty() {
        return None;
    }
    let renamed = names::renamed(headers, &missing, Likeness::Strict);
    if let [(name, alias), ..] = renamed.as_slice() {
        return Some((names::cause(name, alias), Strength::Certain));
    }
    let (verb, these) = match missing.len() {
        1 => ("is", "it"),
        _ => ("are", "them"),
    };
    let noun = if missing.len() == 1 {
        "header"
    } else {
        "headers"
    };
    let summary = format!(
        "the {noun} {} {verb} missing, and no delivery verifies without {these}",
        list(&missing)
    );
    // The signature of another scheme explains why the own one is missing.
    let is_foreign = |name: &HeaderName| {
        !read.contains(&name)
            && ["signature", "hmac"]
                .iter()
                .any(|word| name.as_str().contains(word))
    };
    let strength = match lacks_signature && headers.keys().any(is_foreign) {
        true => Strength::Strong,
        false => Strength::Certain,
    };
    Some((Cause::new(Code::HeaderMissing, summary), strength))
}

/// Returns the cause of a signature header that has lost the timestamp beside the signature.
fn lost_timestamp(case: Case<'_>, format: Format<'_>) -> Option<Cause> {
    let prepared = case.prepare(Age::Ignored).ok()?;
    let error = prepared.check(case.capture.body.clone()).err()?;
    let mut names = format.signature_headers().into_iter();
    let name = names.find(|name| case.capture.headers.contains_key(*name))?;
    let summary = || format!("the header `{name}` has lost the timestamp beside the signature");
    (error == VerifyError::TimestampMissing).then(|| Cause::new(Code::HeaderAltered, summary()))
}

/// Returns the sign that the signature does not have the grammar of the scheme.
fn malformed_signature(case: Case<'_>, format: Format<'_>) -> Option<(Cause, Strength)> {
    let headers = &case.capture.headers;
    let mut names = format.signature_headers().into_iter();
    let (name, value) = names.find_map(|name| Some((name, only(headers, name)?)))?;
    // Another variant may have signed the delivery, even if it is not enabled.
    let all: Vec<Option<&str>> = case
        .setup
        .scheme
        .variants()
        .map(|variant| variant.name())
        .collect();
    let others = all
        .iter()
        .flat_map(|variant| formats(&case.setup.scheme, *variant));
    let is_sound = |format: Format<'_>| {
        format.signature_headers().contains(&name) && format.accepts_signature(value.as_bytes())
    };
    if is_sound(format) {
        return is_folded(format, value).then(|| {
            let summary = format!(
                "the signature in `{name}` has no upper-case letters, so the case of its letters \
                 was changed"
            );
            (Cause::new(Code::HeaderAltered, summary), Strength::Strong)
        });
    }
    if others.into_iter().any(is_sound) {
        return None;
    }
    let summary = format!(
        "the value of `{name}`, which has {} characters, does not have the form of a signature of \
         {}: it was cut or changed on the way",
        value.chars().count(),
        case.setup.title()
    );
    Some((Cause::new(Code::HeaderAltered, summary), Strength::Certain))
}

/// Whether the letters of a signature in base64 were all turned to lower case.
fn is_folded(format: Format<'_>, value: &str) -> bool {
    /// A shorter signature has no upper-case letter by chance.
    const SHORTEST: usize = 20;
    // Zero bytes are `A` in base64, and `0` in hexadecimal digits.
    let mut zeros = [20, 32]
        .into_iter()
        .filter_map(|len| format.encode_signature(&vec![0; len]));
    zeros.any(|text| text.starts_with('A'))
        && !format.has_token()
        && value.len() > SHORTEST
        && !value.bytes().any(|one| one.is_ascii_uppercase())
}
