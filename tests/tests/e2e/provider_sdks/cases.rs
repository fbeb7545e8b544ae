//! The deliveries that are compared: genuine ones, forged ones, and those at an edge.

use std::time::Duration;

use hookgate_core::UnixTime;
use http::HeaderName;

use super::delivery::Delivery;
use super::library::{Sender, SigningKey};

/// The time by which a timestamp lies inside or outside of the window. The libraries read the
/// real clock, so it must cover the duration of one case.
const MARGIN: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Text that a library changes if it does not keep the bytes of the body.
const UNICODE: &str = "Grüße ✓ 🎉 \\u00e9 \u{2028}";
const UNICODE_FORM: &str = "Gr%C3%BC%C3%9Fe+%E2%9C%93+%F0%9F%8E%89";

/// A delivery with the name of its edge.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub name: String,
    pub delivery: Delivery,
}

/// Returns the cases of deliveries that hookgate signs for `sender` at the time `now`.
pub(super) fn signed_by_hookgate(sender: &Sender, now: UnixTime) -> Vec<Case> {
    let signed = |body: &str, key, at| {
        Delivery::unsigned(sender, body)
            .signed(sender, key, at)
            .ok()
    };
    let genuine = signed(sender.body(), SigningKey::Own, now)
        .unwrap_or_else(|| panic!("{}: hookgate does not sign", sender.name));
    let forged = signed(sender.body(), SigningKey::Other, now);
    let forged = forged.expect("another key signs too");
    let signatures = signature_headers(&genuine, &forged);

    let mut cases = vec![
        ("a genuine delivery".to_owned(), Some(genuine.clone())),
        ("another secret".to_owned(), Some(forged.clone())),
        ("a changed body".to_owned(), genuine.with_changed_body()),
        ("an empty body".to_owned(), signed("", SigningKey::Own, now)),
    ];
    for (name, body) in bodies(sender) {
        cases.push((name.to_owned(), signed(&body, SigningKey::Own, now)));
    }
    cases.extend(at_other_times(sender, &genuine, now, |at| {
        signed(sender.body(), SigningKey::Own, at)
    }));
    cases.extend(without_headers(sender, &genuine));
    for name in &signatures {
        cases.extend(with_changed_signature(sender, &genuine, &forged, name));
    }
    let made = cases.into_iter();
    made.filter_map(|(name, delivery)| {
        Some(Case {
            name,
            delivery: delivery?,
        })
    })
    .collect()
}

/// Returns the headers in which deliveries that are signed with two keys differ.
fn signature_headers(one: &Delivery, other: &Delivery) -> Vec<HeaderName> {
    let names = one.headers().keys();
    let differs = |name: &&HeaderName| one.headers().get(*name) != other.headers().get(*name);
    names.filter(differs).cloned().collect()
}

/// Returns bodies that a library changes unless it signs the bytes as they arrive.
pub(super) fn bodies(sender: &Sender) -> Vec<(&'static str, String)> {
    let body = sender.body();
    if sender.content_type() != "application/json" {
        return vec![(
            "a body of Unicode text",
            body.replace("plain", UNICODE_FORM),
        )]
        .into_iter()
        .filter(|(_, changed)| changed != body)
        .collect();
    }
    vec![
        ("a body of Unicode text", body.replace("plain", UNICODE)),
        ("a body with blanks", body.replace("\":", "\" : ")),
        ("a body with a line feed at its end", format!("{body}\n")),
    ]
}

/// Returns deliveries that were signed in the past and in the future, if a timestamp is signed.
fn at_other_times(
    sender: &Sender,
    genuine: &Delivery,
    now: UnixTime,
    sign: impl Fn(UnixTime) -> Option<Delivery>,
) -> Vec<(String, Option<Delivery>)> {
    let yesterday = sign(now.minus(DAY));
    let is_equal =
        |other: &Delivery| other.headers() == genuine.headers() && other.body() == genuine.body();
    if yesterday.as_ref().is_none_or(is_equal) {
        return Vec::new();
    }
    let mut cases = vec![
        ("a timestamp of yesterday".to_owned(), yesterday),
        ("a timestamp of tomorrow".to_owned(), sign(now.plus(DAY))),
    ];
    let window = sender.verifier().window();
    for (side, length) in [("past", window.past()), ("future", window.future())] {
        let inside = length.saturating_sub(MARGIN);
        let outside = length.saturating_add(MARGIN);
        let at = |age| match side {
            "past" => now.minus(age),
            _ => now.plus(age),
        };
        if inside >= MARGIN {
            let name = format!("a timestamp at the edge of the {side}");
            cases.push((name, sign(at(inside))));
        }
        let name = format!("a timestamp behind the edge of the {side}");
        cases.push((name, sign(at(outside))));
    }
    cases
}

/// Returns the delivery without each header that signing has added.
fn without_headers(sender: &Sender, genuine: &Delivery) -> Vec<(String, Option<Delivery>)> {
    let unsigned = Delivery::unsigned(sender, sender.body());
    let added = genuine
        .headers()
        .keys()
        .filter(|name| !unsigned.headers().contains_key(*name));
    let cases = added.map(|name| {
        let mut delivery = genuine.clone();
        delivery.headers_mut().remove(name);
        (format!("without {name}"), Some(delivery))
    });
    cases.collect()
}

/// Returns the delivery with other spellings of the signature in the header `name`.
fn with_changed_signature(
    sender: &Sender,
    genuine: &Delivery,
    forged: &Delivery,
    name: &HeaderName,
) -> Vec<(String, Option<Delivery>)> {
    let right = genuine.header_text(name);
    let wrong = forged.header_text(name);
    let with = |value: &str| {
        let mut delivery = genuine.clone();
        delivery.set_header(name, value);
        Some(delivery)
    };
    let mut twice = genuine.clone();
    let value = genuine.headers()[name].clone();
    twice.headers_mut().append(name, value);

    let mut cases = vec![
        ("an empty signature".to_owned(), with("")),
        (
            "a shortened signature".to_owned(),
            with(&right[..right.len().saturating_sub(4)]),
        ),
    ];
    // A lenient decoder stops at the padding, which depends on the length of the signature.
    if !sender.der {
        cases.push(("the signature header twice".to_owned(), Some(twice)));
        if right.ends_with('=') {
            let unpadded = right.trim_end_matches('=');
            cases.push(("a signature without its padding".to_owned(), with(unpadded)));
        }
    }
    let start = right.rfind([',', '=', ' ']).map_or(0, |at| at + 1);
    let is_hex = right[start..].bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && right.len() - start >= 40 {
        let upper = format!("{}{}", &right[..start], right[start..].to_uppercase());
        cases.push(("a signature in upper case".to_owned(), with(&upper)));
    }
    if let Some((separator, label)) = &sender.several {
        let item = |text: &str| {
            let at = text
                .find(label.as_str())
                .expect("the label is in the header");
            (text[..at].to_owned(), text[at..].to_owned())
        };
        let (before, right) = item(right);
        let (_, wrong) = item(wrong);
        let first = format!("{before}{right}{separator}{wrong}");
        let last = format!("{before}{wrong}{separator}{right}");
        cases.push((
            "two signatures, the first is right".to_owned(),
            with(&first),
        ));
        cases.push(("two signatures, the last is right".to_owned(), with(&last)));
    }
    cases
}
