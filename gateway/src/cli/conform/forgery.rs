//! Builds the requests that no provider sends.

use std::time::Duration;

use hookgate_core::internal::unchecked_secret;
use hookgate_core::{SchemeFamily, SchemeWarning, Secret};
use http::{HeaderName, HeaderValue};

use super::body::AMOUNTS;
use super::deliveries::{Deliveries, Delivery};
use super::probe::Forgery;
use super::skip::Skip;
use super::written::{SignatureText, set_timestamp, timestamp_text};
use crate::cli::Error;
use crate::cli::sign::new_id;

/// How far a timestamp is inside or outside of the window. The clocks of the two programs differ.
pub(super) const MARGIN: Duration = Duration::from_secs(10);

/// A secret that no receiver has.
const OTHER_SECRET: &[u8] = b"a secret of nobody: 0123456789ab";

/// HMAC extends a short key by zeros, so one zero is the same key as none.
const EMPTY_KEY: &[u8] = b"\0";

/// The text of a template that was not expanded.
const PLACEHOLDER: &[u8] = b"${WEBHOOK_SECRET}";

/// The reason why a row about a signature header does not apply.
const NO_HEADER: Skip = Skip::Inapplicable("the signature is in no header of its own");

const JUNK_SIGNATURES: [&[u8]; 5] = [b"!", b"\xff\xfe", b"%00", b"====", b"v1,!!! not base64 !!!"];

const JUNK_TIMESTAMPS: [&str; 8] = [
    "",
    "soon",
    "NaN",
    "-1",
    "1e9",
    "0x10",
    "1 700 000 000",
    "null",
];

const OVERFLOWS: [&str; 5] = [
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999",
    "9007199254740993000",
];

/// Other texts of the genuine timestamp `#`.
const RESPELLINGS: [&str; 4] = ["#x", "0#", "+#", "#.0"];

impl Forgery {
    /// Returns the requests, all of which a safe receiver refuses.
    pub(super) fn deliveries(self, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
        match self {
            Self::BodyChanged => body_changed(all),
            Self::OtherSecret => signed_with(all, OTHER_SECRET),
            Self::EmptySecret => signed_with(all, EMPTY_KEY),
            Self::Placeholder => signed_with(all, PLACEHOLDER),
            Self::FieldMissing | Self::FieldRepeated | Self::SignedIdChanged => self.fields(all),
            Self::TooOld | Self::TooFarAhead => self.outside_of_window(all),
            Self::TimestampJunk => {
                with_timestamps(all, &JUNK_TIMESTAMPS, |_, junk| junk.to_owned())
            }
            Self::TimestampOverflow => with_timestamps(all, &OVERFLOWS, |_, text| text.to_owned()),
            Self::TimestampRespelled => {
                with_timestamps(all, &RESPELLINGS, |text, other| other.replace('#', text))
            }
            _ => self.signature_headers(all),
        }
    }

    /// Returns deliveries with another signature header.
    fn signature_headers(self, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
        let format = all.written();
        let delivery = all.genuine()?;
        let found = SignatureText::find(format, &delivery.request).ok_or(NO_HEADER)?;
        if self == Self::SignatureMissing {
            let mut delivery = delivery;
            delivery.request.headers_mut().remove(&found.header);
            return Ok(vec![delivery]);
        }
        if self == Self::SignatureRepeated {
            if all.variant().family() == SchemeFamily::MessageSignature {
                return Err(Skip::Inapplicable("RFC 9421 joins the lines of a header"));
            }
            let forged = HeaderValue::try_from(found.with_tag(&found.changed_tag()));
            let forged = forged.map_err(Error::new)?;
            return Ok(repeated(&delivery, &found.header, &forged).to_vec());
        }
        let text = match self {
            Self::SignatureEmpty => Some(String::new()),
            Self::SignatureChanged => Some(found.with_tag(&found.changed_tag())),
            Self::SignatureTruncated => Some(found.with_tag(&found.tag[..found.tag.len() / 2])),
            Self::SignatureCutOff => Some(found.with_tag("")).filter(|text| !text.is_empty()),
            Self::SignatureRespelled => found.respelled_tag().map(|tag| found.with_tag(&tag)),
            Self::OtherVersion => found.with_other_version(format),
            _ => None,
        };
        let values = match (self, text) {
            (Self::SignatureJunk, _) => junk_signatures(&found),
            (_, Some(text)) => vec![text.into_bytes()],
            (_, None) => return Err(Skip::Inapplicable("the signature has no such form")),
        };
        with_header(all, &found.header, &values)
    }

    /// Returns deliveries with a changed header that the signature covers, for each such header.
    fn fields(self, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
        let variant = all.variant();
        let id_headers = variant.id().unwrap_or_default();
        let mut deliveries = Vec::new();
        for name in all.written().required_headers() {
            let mut delivery = all.genuine()?;
            let headers = delivery.request.headers_mut();
            let Some(genuine) = headers.get(name).cloned() else {
                continue;
            };
            match self {
                Self::FieldMissing => {
                    headers.remove(name);
                }
                // RFC 9421 joins the lines of a field to one signed value.
                Self::FieldRepeated if variant.family() != SchemeFamily::MessageSignature => {
                    deliveries.extend(repeated(&delivery, name, &other_value(&genuine)));
                    continue;
                }
                Self::SignedIdChanged if id_headers.contains(&format!("header:{name}")) => {
                    headers.insert(name, other_value(&genuine));
                }
                _ => continue,
            }
            deliveries.push(delivery);
        }
        match deliveries.is_empty() {
            true => Err(Skip::Inapplicable("the scheme signs no such header")),
            false => Ok(deliveries),
        }
    }

    fn outside_of_window(self, all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
        let window = all.window().ok_or(Skip::NO_TIMESTAMP)?;
        let mut draft = all.draft();
        draft.at = match self {
            Self::TooOld => draft.at.minus(window.past().saturating_add(MARGIN)),
            _ => draft.at.plus(window.future().saturating_add(MARGIN)),
        };
        Ok(vec![all.sign(draft)?])
    }
}

/// Returns an unsigned delivery.
pub(super) fn unsigned(all: &Deliveries<'_>) -> Result<Delivery, Error> {
    let mut delivery = all.genuine()?;
    delivery.request.headers_mut().clear();
    Ok(delivery)
}

fn body_changed(all: &Deliveries<'_>) -> Result<Vec<Delivery>, Skip> {
    let warnings = all.variant().warnings();
    let unsigned = [SchemeWarning::SignsNothing, SchemeWarning::BodyUnbound];
    if warnings.iter().any(|warning| unsigned.contains(warning)) {
        return Err(Skip::Inapplicable("the scheme does not sign the body"));
    }
    let mut delivery = all.genuine()?;
    if SignatureText::find(all.written(), &delivery.request).is_none() {
        return Err(Skip::Inapplicable(
            "the body may contain parts that are not signed",
        ));
    }
    let body = String::from_utf8_lossy(delivery.request.body()).into_owned();
    let changed = body.replace(AMOUNTS[0], AMOUNTS[1]);
    if changed == body {
        return Err(Skip::Inapplicable("the delivery has no body"));
    }
    *delivery.request.body_mut() = changed.into();
    Ok(vec![delivery])
}

/// Returns a delivery that is signed with the key `key`, in the spelling of the scheme's secrets.
fn signed_with(all: &Deliveries<'_>, key: &[u8]) -> Result<Vec<Delivery>, Skip> {
    let variant = all.variant();
    if variant.has_public_key() {
        return Err(Skip::Inapplicable("the provider signs with a private key"));
    }
    let has_hmac = !variant.is_token() && !variant.warnings().contains(&SchemeWarning::PlainDigest);
    if key == EMPTY_KEY && !has_hmac {
        return Err(Skip::Inapplicable("the scheme has no HMAC"));
    }
    let texts = all.written().secrets_for(key);
    let mut secrets = texts.map(|text| unchecked_secret(text.to_vec()));
    let signer = |secret: Secret| all.signing().signer_with(&secret).ok();
    let signer = secrets.find_map(signer);
    let signer = signer.ok_or(Skip::Inapplicable(
        "no secret of the scheme becomes this key",
    ))?;
    Ok(vec![all.sign_with(&signer, all.draft())?])
}

/// Returns two deliveries with the header `name` twice: `other` before and after the genuine value.
fn repeated(genuine: &Delivery, name: &HeaderName, other: &HeaderValue) -> [Delivery; 2] {
    let mut last = genuine.clone();
    last.request.headers_mut().append(name, other.clone());
    let mut first = genuine.clone();
    let headers = first.request.headers_mut();
    if let Some(value) = headers.insert(name, other.clone()) {
        headers.append(name, value);
    }
    [first, last]
}

/// Returns the headers of junk alone, and of junk in place of the signature: behind a genuine prefix,
/// the junk reaches the decoder and the comparison.
fn junk_signatures(genuine: &SignatureText) -> Vec<Vec<u8>> {
    let (before, after) = (genuine.before.as_bytes(), genuine.after.as_bytes());
    let alone_and_inside = |junk: &[u8]| [junk.to_vec(), [before, junk, after].concat()];
    let mut headers: Vec<_> = JUNK_SIGNATURES
        .into_iter()
        .flat_map(alone_and_inside)
        .collect();
    // Nothing surrounds the signatures of some schemes.
    headers.dedup();
    headers
}

/// Returns one delivery for each of the `values` of the header `name`.
fn with_header(
    all: &Deliveries<'_>,
    name: &HeaderName,
    values: &[Vec<u8>],
) -> Result<Vec<Delivery>, Skip> {
    let build = |value: &Vec<u8>| -> Result<Delivery, Skip> {
        let mut delivery = all.genuine()?;
        let value = HeaderValue::from_bytes(value).map_err(Error::new)?;
        delivery.request.headers_mut().insert(name, value);
        Ok(delivery)
    };
    values.iter().map(build).collect()
}

/// Returns one delivery for each of the `texts`. `change` makes its timestamp of the genuine one and of
/// the text.
fn with_timestamps(
    all: &Deliveries<'_>,
    texts: &[&str],
    change: impl Fn(&str, &str) -> String,
) -> Result<Vec<Delivery>, Skip> {
    let format = all.written();
    let build = |text: &&str| -> Result<Delivery, Skip> {
        let mut delivery = all.genuine()?;
        let genuine = timestamp_text(format, &delivery.request);
        let genuine = genuine.ok_or(Skip::Inapplicable("no header has a timestamp"))?;
        set_timestamp(format, &mut delivery.request, &change(&genuine, text));
        Ok(delivery)
    };
    texts.iter().map(build).collect()
}

/// Returns another value of the same form: a later timestamp, or a new id.
fn other_value(genuine: &HeaderValue) -> HeaderValue {
    let number = genuine
        .to_str()
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    let text = number.map_or_else(new_id, |number| (number + 1).to_string());
    HeaderValue::try_from(text).unwrap_or_else(|_| genuine.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(before: &str) -> SignatureText {
        SignatureText {
            header: HeaderName::from_static("x-signature"),
            before: before.to_owned(),
            tag: "ab".to_owned(),
            after: String::new(),
        }
    }

    #[test]
    fn junk_stands_alone_and_behind_a_genuine_prefix() {
        let headers = junk_signatures(&signature("sha256="));
        assert_eq!(headers.len(), 2 * JUNK_SIGNATURES.len());
        for expected in [&b"\xff\xfe"[..], b"sha256=\xff\xfe"] {
            assert!(headers.iter().any(|header| header == expected));
        }
        assert_eq!(junk_signatures(&signature("")), JUNK_SIGNATURES);
    }
}
