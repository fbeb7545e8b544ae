//! Probes: unsigned requests that are answered, and nothing else without a signature.

use super::*;

fn verifier(provider: &str) -> Verifier {
    let provider = Provider::named(provider).unwrap();
    builder(provider.scheme()).build().unwrap()
}

fn form(body: &str) -> Request<Bytes> {
    let mut request = post("/", body);
    let headers = request.headers_mut();
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert("content-type", content_type);
    headers.insert("content-length", body.len().into());
    request
}

#[test]
fn the_probes_of_the_catalogue_are_answered_as_the_provider_expects() {
    for (provider, body) in [
        ("slack", "ssl_check=1&token=xxx"),
        ("woocommerce", "webhook_id=7"),
    ] {
        let answer = answer(&verifier(provider), &form(body)).unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{provider}");
        assert!(answer.body().is_empty(), "{provider}");
    }
}

#[test]
fn a_request_with_a_signature_is_no_probe() {
    for (provider, header, body) in [
        ("slack", "x-slack-signature", "ssl_check=1"),
        ("woocommerce", "x-wc-webhook-signature", "webhook_id=7"),
    ] {
        let verifier = verifier(provider);
        let mut request = form(body);
        request
            .headers_mut()
            .insert(header, HeaderValue::from_static(""));
        assert!(check(&verifier, &request).is_err(), "{provider}");
        // A genuine delivery with the values of a probe is forwarded.
        let signer = Signer::new(verifier.scheme(), &secret()).unwrap();
        let signed = signer.sign_request(form(body), NOW, None).unwrap();
        assert!(delivery(&verifier, &signed).is_ok(), "{provider}");
    }
}

#[test]
fn an_unsigned_request_without_the_values_of_a_probe_is_refused() {
    let verifier = verifier("slack");
    for body in [
        "",
        "ssl_check=2",
        "token=ssl_check=1",
        r#"{"ssl_check":"1"}"#,
    ] {
        let error = check(&verifier, &form(body)).unwrap_err();
        assert_eq!(error, VerifyError::SignatureMissing, "{body}");
    }
}

#[test]
fn a_probe_has_a_declared_length_of_at_most_1_kib() {
    let verifier = verifier("slack");
    let body = |len: usize| format!("ssl_check=1&pad={}", "a".repeat(len - 16));
    assert!(answer(&verifier, &form(&body(1024))).is_ok());
    let error = check(&verifier, &form(&body(1025))).unwrap_err();
    assert_eq!(error, VerifyError::SignatureMissing);

    // The head decides, before a byte of the body is read.
    let begin = |len: Option<HeaderValue>| {
        let mut request = form("");
        match len {
            Some(len) => drop(request.headers_mut().insert("content-length", len)),
            None => drop(request.headers_mut().remove("content-length")),
        }
        verifier.begin(Head::from(&request), NOW).map(drop)
    };
    assert_eq!(begin(Some(1024.into())), Ok(()));
    for len in [
        Some(1025.into()),
        Some(HeaderValue::from_static("+5")),
        None,
    ] {
        let text = format!("{len:?}");
        assert_eq!(begin(len), Err(VerifyError::SignatureMissing), "{text}");
    }

    // A sender that declares less than it sends gets no answer.
    let mut request = form("");
    request.headers_mut().insert("content-length", 10.into());
    let Ok(HeadOutcome::Delivery(mut pending)) = verifier.begin(Head::from(&request), NOW) else {
        panic!("the body decides")
    };
    pending.push(Bytes::from(body(1025)));
    let error = pending.finish(NOW).map(drop).unwrap_err();
    assert_eq!(error, VerifyError::SignatureMissing);
}

#[test]
fn a_signature_in_the_body_is_no_probe() {
    let scheme = scheme(
        "alg = 'hmac-sha256'\nsig = { in = 'form:sig', enc = 'hex' }\nmsg = '{form:a}'\n\
         [[handshake]]\nmethod = 'POST'\nprobe = true\nwhen = { 'form:ping' = '*' }\n\
         respond = { status = 204 }",
    );
    let verifier = builder(&scheme).build().unwrap();
    let answered = answer(&verifier, &form("ping=1")).unwrap();
    assert_eq!(answered.status(), StatusCode::NO_CONTENT);
    assert!(check(&verifier, &form("ping=1&sig=00")).is_err());
}

#[test]
fn a_probe_is_not_verified() {
    let found = mistakes(
        "alg = 'hmac-sha256'\nsig = { in = 'header:x', enc = 'hex' }\nmsg = '{body}'\n\
         [[handshake]]\nmethod = 'POST'\nprobe = true\nverified = true\nrespond = {}",
    );
    assert_eq!(
        found,
        ["handshake[0].probe: a probe has no signature; remove `verified`"]
    );
}
