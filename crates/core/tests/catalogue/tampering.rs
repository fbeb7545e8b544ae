//! Deliveries that were changed, signed with another key, or are too old: each is refused.

use hookgate_core::{
    Head, ReplayScope, SchemeFamily, SchemeWarning, Secret, Verifier, VerifyError, Window,
};
use http::{HeaderValue, Request};

use super::case::Case;
use super::{NOW, URL};

#[test]
fn a_changed_body_is_refused_unless_the_scheme_does_not_sign_it() {
    let mut refused = 0;
    let scope = ReplayScope::new(&["test"]);
    for case in Case::all() {
        let warnings = case.this().warnings();
        let request = case.signed();
        let genuine = case.verify(&request).unwrap().replay_keys(&scope);
        for at in 0..request.body().len() {
            let mut body = request.body().to_vec();
            body[at] ^= 1;
            let (parts, _) = request.clone().into_parts();
            let outcome = case.verify(&Request::from_parts(parts, body.into()));
            if warnings.contains(&SchemeWarning::SignsNothing)
                || warnings.contains(&SchemeWarning::BodyUnbound)
            {
                continue;
            }
            match outcome {
                Err(_) => refused += 1,
                // A body that contains its signature has unsigned parts. The event stays the same.
                Ok(verified) => {
                    let mut names = request.headers().keys();
                    let in_body = names.all(|name| name == http::header::CONTENT_TYPE);
                    assert!(in_body, "{}: byte {at}", case.name);
                    assert_eq!(
                        verified.replay_keys(&scope),
                        genuine,
                        "{}: byte {at}",
                        case.name
                    );
                }
            }
        }
    }
    assert!(refused > 3_000, "{refused}");
}

#[test]
fn a_delivery_signed_with_another_key_is_refused() {
    let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let mut refused = 0;
    for mut case in Case::all() {
        let request = case.signed();
        let others = [
            other,
            &other[6..],
            "30313233343536373839616263646566303132333435363738396162",
        ];
        let usable = others.iter().find(|text| {
            case.public = Secret::new(**text).unwrap();
            case.try_verifier().is_ok()
        });
        if usable.is_none() {
            assert!(case.this().has_public_key(), "{}", case.name);
            continue;
        }
        assert_eq!(
            case.verify(&request).unwrap_err(),
            VerifyError::SignatureMismatch,
            "{}",
            case.name
        );
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}

/// The errors that a changed header may cause.
const HEADER_ERRORS: [VerifyError; 15] = [
    VerifyError::SignatureMissing,
    VerifyError::SignatureRepeated,
    VerifyError::SignatureMalformed,
    VerifyError::SignatureVersionUnknown,
    VerifyError::SignatureTooMany,
    VerifyError::SignatureMismatch,
    VerifyError::TimestampMissing,
    VerifyError::TimestampRepeated,
    VerifyError::TimestampMalformed,
    VerifyError::TimestampTooOld,
    VerifyError::TimestampTooNew,
    VerifyError::FieldMissing,
    VerifyError::FieldRepeated,
    VerifyError::FieldMalformed,
    VerifyError::RequirementUnmet,
];

#[test]
fn a_removed_doubled_emptied_truncated_or_extended_header_is_refused() {
    let mut refused = 0;
    for case in Case::all() {
        let signed = case.signed();
        for (field, value) in signed.headers() {
            if field == http::header::CONTENT_TYPE {
                continue;
            }
            // The name of a published key selects a key to fetch. These cases have a key already.
            if case.scheme.publishes_keys() && !case.scheme.headers().contains(&field) {
                continue;
            }
            let value = value.as_bytes();
            let changed = |bytes: &[u8]| {
                let mut request = signed.clone();
                let value = HeaderValue::from_bytes(bytes).unwrap();
                request.headers_mut().insert(field, value);
                request
            };
            let mut removed = signed.clone();
            removed.headers_mut().remove(field);
            let mut doubled = signed.clone();
            let again = HeaderValue::from_bytes(value).unwrap();
            doubled.headers_mut().append(field, again);
            let cases = [
                ("removed", removed),
                ("doubled", doubled),
                ("emptied", changed(b"")),
                ("truncated", changed(&value[..value.len() - 1])),
                ("extended", changed(&[value, b"0"].concat())),
            ];
            for (change, request) in cases {
                let name = &case.name;
                let error = match case.verify(&request) {
                    Err(error) => error,
                    // A token signs no header.
                    Ok(_) if case.this().is_token() => continue,
                    Ok(_) => panic!("{name}: {field} {change}"),
                };
                assert!(
                    HEADER_ERRORS.contains(&error),
                    "{name}: {field} {change}: {error}"
                );
                // Without this header, or with two of them, another variant applies.
                let selects = field == "x-twilio-webhooks-signature-settings";
                let rfc9421 = case.this().family() == SchemeFamily::MessageSignature;
                let expected = match change {
                    "removed" => selects || error.label().ends_with("_missing"),
                    // RFC 9421 joins the lines of a field to one value.
                    "doubled" => selects || rfc9421 || error.label().ends_with("_repeated"),
                    _ => true,
                };
                assert!(expected, "{name}: {field} {change}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 800, "{refused}");
}

#[test]
fn a_timestamp_outside_its_window_is_refused() {
    let mut checked = 0;
    for case in Case::all() {
        let Some(window) = case.this().window() else {
            continue;
        };
        let request = case.signed();
        let at = |now| case.verify_at(&request, now).map(drop);
        let second = std::time::Duration::from_secs(1);
        let name = &case.name;
        // A JSON Web Token also has an expiry of its own.
        if case.this().family() != SchemeFamily::Jwt {
            assert_eq!(at(NOW.plus(window.past())), Ok(()), "{name}");
        }
        assert_eq!(at(NOW.minus(window.future())), Ok(()), "{name}");
        let late = NOW.plus(window.past() + second);
        let early = NOW.minus(window.future() + second);
        assert_eq!(at(late), Err(VerifyError::TimestampTooOld), "{name}");
        assert_eq!(at(early), Err(VerifyError::TimestampTooNew), "{name}");
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn the_window_of_the_operator_overrides_that_of_the_provider() {
    let second = std::time::Duration::from_secs(1);
    for case in Case::all() {
        if case.this().window().is_none() || case.this().family() == SchemeFamily::Jwt {
            continue;
        }
        let mut builder = Verifier::builder(&case.scheme)
            .key(case.public.clone())
            .window(Window::new(second, second));
        if case.scheme.needs_url() {
            builder = builder.url(URL);
        }
        for param in case.scheme.params() {
            builder = builder.param(param, "hookgate");
        }
        if let Some(variant) = &case.variant {
            builder = builder.variant(variant);
        }
        let verifier = builder.build().unwrap();
        let request = case.signed();
        let outcome = verifier.verify(
            Head::from(&request),
            request.body().clone(),
            NOW.plus(2 * second),
        );
        assert_eq!(
            outcome.unwrap_err(),
            VerifyError::TimestampTooOld,
            "{}",
            case.name
        );
    }
}
