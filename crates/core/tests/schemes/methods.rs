//! GET deliveries, values that are signed in one of two forms, and the variant that a signer
//! chooses.

use super::urls_and_forms::{ACCOUNT, moved};
use super::*;

#[test]
fn a_get_delivery_signs_its_query_and_is_no_post_delivery() {
    let twilio = Provider::named("twilio").unwrap();
    let url = "https://a.example/in?step=menu";
    let verifier = builder(twilio.scheme()).url(url).build().unwrap();
    assert!(verifier.is_delivery_method(&Method::GET));
    assert!(!verifier.is_delivery_method(&Method::PUT));
    let sign = |variant: &str, target: &str, body: &str| {
        let signer = Signer::builder(twilio.scheme(), &secret());
        let signer = signer.url(url).variant(variant).build().unwrap();
        signer.sign_request(post(target, body), NOW, None).unwrap()
    };
    let get = sign("get", "/in?CallSid=CA9&Caller=sip%3A1%40203.0.113.9", "");
    assert_eq!(get.method(), Method::GET);
    assert!(delivery(&verifier, &get).is_ok());
    let target = get.uri().to_string();
    for (method, target, body) in [
        (Method::POST, &*target, ""),
        (Method::PUT, &*target, ""),
        (Method::GET, &*target, "x"),
        (Method::GET, "/in?CallSid=CA9", ""),
    ] {
        let request = moved(&get, &method, target, body);
        assert!(delivery(&verifier, &request).is_err(), "{method} {target}");
    }
    // A signed POST delivery is refused with the method GET, with its body or without.
    let json = sign("json", "/in?x=1", "{}");
    assert!(delivery(&verifier, &json).is_ok());
    for body in ["", "{}"] {
        let request = moved(&json, &Method::GET, &json.uri().to_string(), body);
        assert!(delivery(&verifier, &request).is_err(), "{body}");
    }
}

#[test]
fn a_value_of_either_case_is_signed_as_it_is_or_in_lower_case() {
    let mercado_pago = Provider::named("mercado-pago").unwrap();
    let verifier = builder(mercado_pago.scheme()).build().unwrap();
    let signer = Signer::new(mercado_pago.scheme(), &secret()).unwrap();
    let signed = |id: &str| {
        let request = post(&format!("/in?data.id={id}"), "{}");
        signer.sign_request(request, NOW, None).unwrap()
    };
    let with_id = |mut request: Request<Bytes>, id: &str| {
        *request.uri_mut() = format!("/in?data.id={id}").parse().unwrap();
        delivery(&verifier, &request)
    };
    assert!(with_id(signed("ORD01J"), "ORD01J").is_ok());
    assert!(with_id(signed("ord01j"), "ORD01J").is_ok());
    for (other, id) in [
        ("ORD01J", "ord01j"),
        ("ORD01J", "Ord01J"),
        ("ord01k", "ORD01J"),
    ] {
        let refused = with_id(signed(other), id).unwrap_err();
        assert_eq!(refused, VerifyError::SignatureMismatch, "{other} {id}");
    }
    // Both readings are one event.
    let scope = ReplayScope::new(&["test"]);
    let keys = |request, id| with_id(request, id).unwrap().replay_keys(&scope);
    assert_eq!(
        keys(signed("ord01j"), "ORD01J"),
        keys(signed("ord01j"), "ord01j")
    );
}

#[test]
fn a_value_of_either_case_does_not_let_the_port_of_the_url_change() {
    const VALUE: &str = r#"msg = "{url}\n{header:x-kind|either-case}\n{body}""#;
    let [fixed, toggled] = ["", "\nurl = { port = 'toggle' }"].map(|rule| {
        let scheme = scheme(&format!(
            "alg = 'hmac-sha256'\nsig = {{ in = 'header:x-sig', enc = 'hex' }}\n{VALUE}{rule}"
        ));
        let verifier = builder(&scheme).url("https://a.example/in");
        verifier.build().unwrap()
    });
    let refused = Err(VerifyError::SignatureMismatch);
    for (host, kind, by_fixed, by_toggled) in [
        ("a.example", "Paid", Ok(()), Ok(())),
        ("a.example", "paid", Ok(()), refused),
        ("a.example:443", "paid", refused, Ok(())),
        ("a.example:443", "Paid", refused, refused),
    ] {
        let message = format!("https://{host}/in\n{kind}\n{{}}");
        let mut request = under_signature_of(&message, post("/in", "{}"));
        let value = HeaderValue::from_static("Paid");
        request.headers_mut().insert("x-kind", value);
        for (verifier, verdict) in [(&fixed, by_fixed), (&toggled, by_toggled)] {
            let verified = delivery(verifier, &request).map(drop);
            assert_eq!(verified, verdict, "{message}");
        }
    }
}

#[test]
fn a_token_without_the_digest_of_the_body_is_a_get_delivery() {
    let messagebird = Provider::named("messagebird").unwrap();
    let url = "https://a.example/in";
    let verifier = builder(messagebird.scheme()).url(url).build().unwrap();
    let sign = |method: Method, target: &str, body: &str| {
        let signer = Signer::builder(messagebird.scheme(), &secret()).url(url);
        let mut request = post(target, body);
        *request.method_mut() = method;
        let signer = signer.build().unwrap();
        signer.sign_request(request, NOW, None).unwrap()
    };
    let get = sign(Method::GET, "/in?status=delivered", "");
    assert!(delivery(&verifier, &get).is_ok());
    let post = sign(Method::POST, "/in", "{}");
    assert!(delivery(&verifier, &post).is_ok());
    for (signed, method, target, body) in [
        (&get, Method::GET, "/in?status=failed", ""),
        (&get, Method::GET, "/in?status=delivered", "{}"),
        (&get, Method::POST, "/in?status=delivered", ""),
        (&get, Method::POST, "/in?status=delivered", "{}"),
        (&post, Method::GET, "/in", ""),
        (&post, Method::GET, "/in", "{}"),
        (&post, Method::POST, "/in", ""),
    ] {
        let request = moved(signed, &method, target, body);
        assert!(
            delivery(&verifier, &request).is_err(),
            "{method} {target} {body}"
        );
    }
}

/// The method is not signed, so the replay key must not depend on it.
#[test]
fn a_token_with_the_digest_of_an_empty_body_is_one_event_with_either_method() {
    let messagebird = Provider::named("messagebird").unwrap();
    let url = "https://a.example/in";
    let verifier = builder(messagebird.scheme()).url(url).build().unwrap();
    let signer = Signer::builder(messagebird.scheme(), &secret()).url(url);
    let signed = signer.build().unwrap();
    let signed = signed.sign_request(post("/in?status=sent", ""), NOW, None);
    let signed = signed.unwrap();
    let scope = ReplayScope::new(&["test"]);
    let keys = [Method::POST, Method::GET].map(|method| {
        let request = moved(&signed, &method, "/in?status=sent", "");
        delivery(&verifier, &request).unwrap().replay_keys(&scope)
    });
    assert_eq!(keys[0], keys[1]);
    // The control: another query is not signed, and another body neither.
    for (target, body) in [("/in?status=failed", ""), ("/in?status=sent", "{}")] {
        let request = moved(&signed, &Method::GET, target, body);
        assert!(delivery(&verifier, &request).is_err(), "{target} {body}");
    }
}

#[test]
fn a_get_delivery_that_signs_one_field_may_have_no_other_field() {
    let gitea = Provider::named("gitea").unwrap();
    let signer = Signer::builder(gitea.scheme(), &secret()).variant("get");
    let signed = signer.build().unwrap();
    let signed = signed.sign_request(post("/in?payload=%7B%7D&own=1", ""), NOW, None);
    let signed = signed.unwrap();
    let get = builder(gitea.scheme()).variant("get");
    let get = get.url("https://a.example/in?own=1").build().unwrap();
    let usual = builder(gitea.scheme()).build().unwrap();
    assert!(!usual.is_delivery_method(&Method::GET));
    for (target, expected) in [
        ("/in?payload=%7B%7D&own=1", true),
        ("/in?payload=%7b%7d", true),
        ("/in?payload=%7B%7D&own=2", false),
        ("/in?payload=%7B%7D&payload%5Bx%5D=1", false),
        ("/in?payload=%7B%7D&payload=1", false),
        ("/in?own=1", false),
    ] {
        let request = moved(&signed, &Method::GET, target, "");
        assert_eq!(delivery(&get, &request).is_ok(), expected, "{target}");
        assert!(delivery(&usual, &request).is_err(), "{target}");
    }
}

#[test]
fn the_method_and_the_body_choose_the_variant_to_sign() {
    let form = format!("CallSid=CA3&{ACCOUNT}");
    for (provider, method, body, expected) in [
        ("twilio", Method::POST, &*form, "form"),
        ("twilio", Method::POST, "{}", "json"),
        ("twilio", Method::GET, "", "get"),
        ("gitea", Method::POST, "payload=%7B%7D", "form"),
        ("gitea", Method::POST, "{}", "json"),
        ("mailgun", Method::POST, "a=b", "form"),
        ("hubspot", Method::POST, "a=b", "v3"),
    ] {
        let provider = Provider::named(provider).unwrap();
        let sign = |variant: Option<&str>| {
            let mut signer = Signer::builder(provider.scheme(), &secret());
            if provider.scheme().needs_url() {
                signer = signer.url("https://a.example/in");
            }
            if let Some(variant) = variant {
                signer = signer.variant(variant);
            }
            let mut request = post("/in", body);
            *request.method_mut() = method.clone();
            let signed = signer.build().unwrap().sign_request(request, NOW, None);
            let signed = signed.unwrap();
            (
                signed.uri().clone(),
                signed.headers().clone(),
                signed.into_body(),
            )
        };
        assert_eq!(sign(None), sign(Some(expected)), "{expected} {body}");
    }
}
