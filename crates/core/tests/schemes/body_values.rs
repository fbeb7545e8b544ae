//! The id and the type of an event, where the head or the body has them.

use super::*;

fn with(rest: &str) -> Scheme {
    scheme(&format!(
        "alg = 'hmac-sha256'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\n{rest}"
    ))
}

#[test]
fn an_id_of_the_body_is_signed_by_its_placeholder() {
    let scheme = with("id = 'json:/id'\nmsg = '{id}:{json:/name|free}'\nbinds_body = false");
    let verifier = builder(&scheme).build().unwrap();
    let body = r#"{"id":"evt_1","name":"a:b"}"#;
    let genuine = under_signature_of("evt_1:a:b", post("/", body));
    assert_eq!(delivery(&verifier, &genuine).unwrap().id(), Some("evt_1"));
    for (body, refusal) in [
        (
            r#"{"id":"evt_2","name":"a:b"}"#,
            VerifyError::SignatureMismatch,
        ),
        // The same message, divided in another way.
        (
            r#"{"id":"evt_1:a","name":"b"}"#,
            VerifyError::FieldMalformed,
        ),
        (r#"{"name":"evt_1:a:b"}"#, VerifyError::FieldMissing),
    ] {
        let forged = under_signature_of("evt_1:a:b", post("/", body));
        assert_eq!(delivery(&verifier, &forged).unwrap_err(), refusal, "{body}");
    }
}

#[test]
fn a_signed_id_that_is_malformed_is_refused_by_either_name() {
    for placeholder in ["{id}", "{header:x-id}"] {
        let scheme = with(&format!(
            "id = 'header:x-id'\nmsg = '{placeholder}:{{body}}'"
        ));
        let verifier = builder(&scheme).build().unwrap();
        for (id, verdict) in [
            ("evt_1", Ok(Some("evt_1"))),
            ("evt 1", Err(VerifyError::FieldMalformed)),
            (&"e".repeat(257), Err(VerifyError::FieldMalformed)),
        ] {
            let mut request = under_signature_of(&format!("{id}:{{}}"), post("/", "{}"));
            let value = HeaderValue::from_str(id).unwrap();
            request.headers_mut().insert("x-id", value);
            let verified = delivery(&verifier, &request);
            let found = verified.as_ref().map(Verified::id).map_err(|error| *error);
            assert_eq!(found, verdict, "{placeholder} {id}");
        }
    }
}

#[test]
fn a_form_has_its_event_type_in_one_field() {
    let verifier = builder(&with("msg = '{body}'\ntype = 'form:kind'"));
    let verifier = verifier.build().unwrap();
    for (body, event_type) in [
        ("kind=order.paid&n=1", Some("order.paid")),
        ("n=1&kind=order%2Epaid", Some("order.paid")),
        ("kind=a+b", None),
        ("kind=a&kind=b", None),
        ("n=1", None),
    ] {
        let request = under_signature_of(body, post("/", body));
        let verified = delivery(&verifier, &request).unwrap();
        assert_eq!(verified.event_type(), event_type, "{body}");
    }
}
