//! Every kind of change of a header, at several providers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookgate_core::UnixTime;
use http::{HeaderName, HeaderValue};

use super::{each, signs};
use crate::attempt::{Edit, Effort};
use crate::cause::Code;
use crate::sample::{Sample, cheapest_proof};
use crate::sign::Strength;

/// The providers, each with its signature header.
const SIGNATURES: [(&str, &str); 8] = [
    ("github", "x-hub-signature-256"),
    ("stripe", "stripe-signature"),
    ("slack", "x-slack-signature"),
    ("standard-webhooks", "webhook-signature"),
    ("shopify", "x-shopify-hmac-sha256"),
    ("twilio", "x-twilio-signature"),
    ("zendesk", "x-zendesk-webhook-signature"),
    ("discord-interactions", "x-signature-ed25519"),
];

fn edits(sample: &Sample, effort: Effort) -> Vec<Edit> {
    sample.edits(each, effort)
}

/// Returns the code that the edits of `effort` prove.
fn proved(sample: &Sample, effort: Effort) -> Option<Code> {
    cheapest_proof(sample, &edits(sample, effort)).map(|cause| cause.code)
}

/// Returns the code and the strength of the strongest sign.
fn strongest(sample: &Sample) -> Option<(Code, Strength)> {
    let signs = signs(sample.case());
    let strength = signs.iter().map(|sign| sign.strength).max()?;
    let first = signs.iter().find(|sign| sign.strength == strength)?;
    Some((first.cause.code, strength))
}

/// A change of a value, for tables. `None` if it cannot happen to this value.
type Alter = fn(&str) -> Option<String>;

fn if_changed(before: &str, after: String) -> Option<String> {
    (before != after).then_some(after)
}

#[test]
fn every_alteration_of_a_signature_is_undone_at_every_provider() {
    const ALTERATIONS: [(&str, Alter); 22] = [
        ("quotes", |v| Some(format!("\"{v}\""))),
        ("apostrophes", |v| Some(format!("'{v}'"))),
        ("literal of bytes", |v| Some(format!("b'{v}'"))),
        ("list of one", |v| Some(format!("['{v}']"))),
        ("semicolon", |v| Some(format!("{v};"))),
        ("comma", |v| Some(format!("{v},"))),
        ("written line feed", |v| Some(format!("{v}\\n"))),
        ("percent-encoded", |v| {
            let encoded = v
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D");
            if_changed(v, encoded.replace(',', "%2C"))
        }),
        ("HTML-escaped", |v| {
            let escaped = v.replace('+', "&#43;").replace('/', "&#x2F;");
            if_changed(v, escaped.replace('=', "&#61;"))
        }),
        ("blank for plus", |v| if_changed(v, v.replace('+', " "))),
        ("prefix lost", |v| {
            let prefix = ["sha256=", "v0=", "v1,"]
                .iter()
                .find(|prefix| v.starts_with(**prefix))?;
            Some(v[prefix.len()..].to_owned())
        }),
        ("prefix in upper case", |v| {
            let prefix = ["sha256=", "v0=", "v1,"]
                .iter()
                .find(|prefix| v.starts_with(**prefix))?;
            Some(format!("{}{}", prefix.to_uppercase(), &v[prefix.len()..]))
        }),
        ("colon behind the prefix", |v| {
            v.starts_with("sha256=").then(|| v.replacen('=', ":", 1))
        }),
        ("prefix added", |v| {
            (!v.contains([',', '='])).then(|| format!("sha256={v}"))
        }),
        ("prefix doubled", |v| {
            v.starts_with("sha256=").then(|| format!("sha256={v}"))
        }),
        ("names in upper case", |v| {
            v.starts_with("t=").then(|| v.to_uppercase())
        }),
        ("semicolons for commas", |v| {
            v.starts_with("t=").then(|| v.replace(',', ";"))
        }),
        ("JSON", |v| {
            let (time, tag) = v.strip_prefix("t=")?.split_once(",v1=")?;
            Some(format!("{{\"t\":\"{time}\",\"v1\":\"{tag}\"}}"))
        }),
        ("URL-safe base64", |v| {
            let changed = v.replace('+', "-").replace('/', "_");
            if_changed(v, changed.trim_end_matches('=').to_owned())
        }),
        ("padding lost", |v| {
            if_changed(v, v.trim_end_matches('=').to_owned())
        }),
        ("base64 for hexadecimal digits", |v| {
            let (prefix, digits) = v.rsplit_once('=').unwrap_or(("", v));
            let tag = hex::decode(digits).ok().filter(|tag| !tag.is_empty())?;
            let encoded = STANDARD.encode(tag);
            Some(match prefix {
                "" => encoded,
                prefix => format!("{prefix}={encoded}"),
            })
        }),
        ("hexadecimal digits for base64", |v| {
            let (prefix, text) = v.split_once(',').unwrap_or(("", v));
            let is_base64 = text.ends_with('=');
            let digits = hex::encode(STANDARD.decode(text).ok().filter(|_| is_base64)?);
            Some(match prefix {
                "" => digits,
                prefix => format!("{prefix},{digits}"),
            })
        }),
    ];
    let mut missed = Vec::new();
    for (provider, header) in SIGNATURES {
        for (name, alter) in ALTERATIONS {
            let sample = Sample::of(provider);
            let Some(value) = alter(&sample.header(header)) else {
                continue;
            };
            let broken = sample.with_header(header, &value);
            let code = proved(&broken, Effort::Full);
            let sign = strongest(&broken).map(|(code, _)| code);
            let expected = Some(Code::HeaderAltered);
            // A list may end with a comma.
            if !broken.verifies() && (code, sign) != (expected, expected) {
                missed.push(format!("{name} at {provider}: {code:?} {sign:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_renamed_header_gets_its_name_back() {
    let mut missed = Vec::new();
    for (provider, header) in SIGNATURES {
        let under = header.replace('-', "_");
        for alias in [
            format!("http_{under}"),
            under.clone(),
            format!("x-forwarded-{header}"),
            format!("x-original-{header}"),
            format!("x-amzn-remapped-{header}"),
        ] {
            let mut sample = Sample::of(provider);
            let value = sample.capture.headers.remove(header).unwrap();
            let alias = HeaderName::try_from(alias).unwrap();
            sample.capture.headers.insert(alias.clone(), value);
            let code = proved(&sample, Effort::Common);
            let sign = strongest(&sample);
            let expected = Code::HeaderMissing;
            if code != Some(expected) || sign != Some((expected, Strength::Certain)) {
                missed.push(format!("{alias} at {provider}: {code:?} {sign:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn all_headers_that_cgi_renames_get_their_names_back() {
    for provider in ["slack", "standard-webhooks", "discord-interactions"] {
        let mut sample = Sample::of(provider);
        let headers = std::mem::take(&mut sample.capture.headers);
        for (name, value) in &headers {
            let alias = format!("http_{}", name.as_str().replace('-', "_"));
            let alias = HeaderName::try_from(alias).unwrap();
            sample.capture.headers.insert(alias, value.clone());
        }
        assert_eq!(
            proved(&sample, Effort::Common),
            Some(Code::HeaderMissing),
            "{provider}"
        );
    }
}

#[test]
fn a_missing_header_is_named() {
    for (provider, header, named) in [
        ("github", "x-hub-signature-256", true),
        ("stripe", "stripe-signature", true),
        ("slack", "x-slack-signature", true),
        ("slack", "x-slack-request-timestamp", true),
        ("standard-webhooks", "webhook-id", true),
        ("standard-webhooks", "webhook-timestamp", true),
        ("discord-interactions", "x-signature-timestamp", true),
        // The signature does not cover the id.
        ("github", "x-github-delivery", false),
    ] {
        let mut sample = Sample::of(provider);
        sample.capture.headers.remove(header);
        let signs = signs(sample.case());
        let sign = signs
            .iter()
            .find(|sign| sign.cause.code == Code::HeaderMissing);
        assert_eq!(sign.is_some(), named, "{header}");
        if let Some(sign) = sign {
            assert_eq!(sign.strength, Strength::Certain, "{header}");
            assert!(
                sign.cause.summary.contains(header),
                "{}",
                sign.cause.summary
            );
        }
        // Only a lost timestamp can be found, because the arrival is known.
        let found = header.ends_with("timestamp").then_some(Code::HeaderMissing);
        assert_eq!(proved(&sample, Effort::Full), found, "{header}");
        sample.capture.arrived = None;
        assert_eq!(proved(&sample, Effort::Full), None, "{header}");
    }
}

#[test]
fn a_timestamp_that_was_replaced_is_found_around_the_arrival() {
    for (provider, header, value, code) in [
        (
            "slack",
            "x-slack-request-timestamp",
            "1795946950.25",
            Some(Code::HeaderAltered),
        ),
        (
            "standard-webhooks",
            "webhook-timestamp",
            "1795946950",
            Some(Code::HeaderAltered),
        ),
        (
            "slack",
            "x-slack-request-timestamp",
            "none",
            Some(Code::HeaderAltered),
        ),
        // The milliseconds of a time have too many values.
        (
            "hubspot",
            "x-hubspot-request-timestamp",
            "1795946950000",
            None,
        ),
    ] {
        let mut sample = Sample::of(provider).with_header(header, value);
        sample.capture.arrived = Some(UnixTime::from_secs(1_795_946_950));
        assert_eq!(proved(&sample, Effort::Full), code, "{header}");
    }
    let sample = Sample::of("stripe");
    let signature = sample.header("stripe-signature");
    let (_, signature) = signature.split_once(',').unwrap();
    let sample = sample.clone().with_header("stripe-signature", signature);
    assert_eq!(proved(&sample, Effort::Full), Some(Code::HeaderAltered));
}

#[test]
fn a_repeated_header_is_forwarded_once() {
    let mut missed = Vec::new();
    for (provider, header) in SIGNATURES {
        let right = Sample::of(provider).header(header);
        let other = Sample::of(provider)
            .with_secret("")
            .header(header)
            .replace(['a', 'b', '1'], "2");
        for (name, values) in [
            ("equal", vec![&right, &right]),
            ("first", vec![&right, &other]),
            ("last", vec![&other, &right]),
            ("middle", vec![&other, &right, &other]),
        ] {
            let mut sample = Sample::of(provider);
            sample.capture.headers.remove(header);
            for value in &values {
                let value = HeaderValue::from_str(value).unwrap();
                sample.capture.headers.append(header, value);
            }
            let code = proved(&sample, Effort::Common);
            let sign = strongest(&sample);
            let expected = Some((Code::HeaderRepeated, Strength::Strong));
            if code != Some(Code::HeaderRepeated) || sign != expected {
                missed.push(format!("{name} at {provider}: {code:?} {sign:?}"));
            }
        }
        let sample = Sample::of(provider).with_header(header, &format!("{right}, {right}"));
        let code = proved(&sample, Effort::Full);
        if code != Some(Code::HeaderRepeated) {
            missed.push(format!("joined at {provider}: {code:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn headers_of_two_schemes_are_reduced_to_those_of_the_provider() {
    for (provider, own, foreign) in [
        ("standard-webhooks", "webhook", "svix"),
        ("svix", "svix", "webhook"),
    ] {
        let mut sample = Sample::of(provider);
        for field in ["id", "timestamp", "signature"] {
            let value = sample.capture.headers[&format!("{own}-{field}")].clone();
            let name = HeaderName::try_from(format!("{foreign}-{field}")).unwrap();
            sample.capture.headers.insert(name, value);
        }
        assert!(!sample.verifies(), "{provider}");
        let cause = cheapest_proof(&sample, &edits(&sample, Effort::Common)).unwrap();
        assert_eq!(cause.code, Code::HeaderRepeated, "{provider}");
        let fix = format!(
            "forward the headers of one scheme, and drop `{foreign}-id`, `{foreign}-timestamp` \
             and `{foreign}-signature`"
        );
        assert_eq!(cause.fix, fix);
    }
}

#[test]
fn a_timestamp_in_another_format_is_converted() {
    const FORMATS: [(&str, &str); 9] = [
        ("milliseconds", "1795946719000"),
        ("microseconds", "1795946719000000"),
        ("float", "1795946719.0"),
        ("float with a fraction", "1795946719.25"),
        ("exponent", "1.795946719e+09"),
        ("RFC 3339", "2026-11-29T10:05:19Z"),
        ("RFC 2822", "Sun, 29 Nov 2026 10:05:19 +0000"),
        ("HTTP date", "Sun, 29 Nov 2026 10:05:19 GMT"),
        ("local time", "2026-11-29 11:05:19"),
    ];
    let mut missed = Vec::new();
    for (provider, header) in [
        ("slack", "x-slack-request-timestamp"),
        ("standard-webhooks", "webhook-timestamp"),
        ("discord-interactions", "x-signature-timestamp"),
        ("stripe", "stripe-signature"),
    ] {
        for (name, text) in FORMATS {
            let sample = Sample::of(provider);
            let value = sample.header(header).replace("1795946719", text);
            let sample = sample.with_header(header, &value);
            let code = proved(&sample, Effort::Full);
            let sign = strongest(&sample);
            let expected = Some((Code::TimestampFormat, Strength::Certain));
            // A comma divides the list of Stripe.
            let is_divided = provider == "stripe" && text.contains(',');
            if !is_divided && (code != Some(Code::TimestampFormat) || sign != expected) {
                missed.push(format!("{name} at {provider}: {code:?} {sign:?}"));
            }
        }
    }
    for text in [
        "1795946719",
        "2026-11-29T10:05:19.000Z",
        "2026-11-29T12:05:19+02:00",
    ] {
        let header = "x-zendesk-webhook-signature-timestamp";
        let sample = Sample::of("zendesk").with_header(header, text);
        let code = proved(&sample, Effort::Full);
        if code != Some(Code::TimestampFormat) {
            missed.push(format!("{text} at zendesk: {code:?}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_quoted_timestamp_or_id_is_an_altered_header() {
    for (provider, header) in [
        ("slack", "x-slack-request-timestamp"),
        ("standard-webhooks", "webhook-timestamp"),
        ("standard-webhooks", "webhook-id"),
    ] {
        for (open, close) in [("\"", "\""), ("'", "'"), ("", ";"), ("b'", "'")] {
            let sample = Sample::of(provider);
            let value = format!("{open}{}{close}", sample.header(header));
            let sample = sample.with_header(header, &value);
            let code = proved(&sample, Effort::Common);
            assert_eq!(code, Some(Code::HeaderAltered), "{value} in {header}");
        }
    }
}

#[test]
fn a_signature_that_was_cut_or_folded_has_a_sign() {
    for (provider, header) in SIGNATURES {
        let sample = Sample::of(provider);
        let value = sample.header(header);
        let cut = sample
            .clone()
            .with_header(header, &value[..value.len() - 5]);
        let expected = Some((Code::HeaderAltered, Strength::Certain));
        assert_eq!(strongest(&cut), expected, "{provider}");
        assert_eq!(proved(&cut, Effort::Full), None, "{provider}");
    }
    for (provider, header) in [
        ("standard-webhooks", "webhook-signature"),
        ("shopify", "x-shopify-hmac-sha256"),
    ] {
        let sample = Sample::of(provider);
        let folded = sample.header(header).to_lowercase();
        let sample = sample.with_header(header, &folded);
        let (code, strength) = strongest(&sample).unwrap();
        // Lower case may also set bits behind the last byte, which base64 does not allow.
        assert!(strength >= Strength::Strong, "{provider}");
        assert_eq!(code, Code::HeaderAltered, "{provider}");
    }
}

#[test]
fn the_headers_of_a_delivery_for_another_endpoint_prove_nothing_and_have_no_sign() {
    for (provider, _) in SIGNATURES {
        let mut sample = Sample::of(provider);
        assert!(sample.verifies(), "{provider}");
        sample.capture.body = sample.capture.body.to_ascii_uppercase().into();
        assert_eq!(proved(&sample, Effort::Full), None, "{provider}");
        assert_eq!(strongest(&sample), None, "{provider}");
        let common = edits(&sample, Effort::Common);
        assert!(common.len() <= 40, "{provider}: {}", common.len());
    }
}

#[test]
fn no_text_contains_a_part_of_a_header_value() {
    const CANARY: &str = "Xq7canaryZ9";
    for (provider, header) in SIGNATURES {
        for value in [
            CANARY.to_owned(),
            format!("{CANARY}={CANARY}, {CANARY}"),
            format!("\"{CANARY}\";"),
            URL_SAFE_NO_PAD.encode(CANARY),
        ] {
            let sample = Sample::of(provider).with_header(header, &value);
            let edits = edits(&sample, Effort::Full);
            let causes = edits.into_iter().map(|edit| edit.cause);
            let signs = signs(sample.case()).into_iter().map(|sign| sign.cause);
            for cause in causes.chain(signs) {
                let text = format!("{cause:?}");
                assert!(!text.contains("canary"), "{text}");
            }
        }
    }
}
