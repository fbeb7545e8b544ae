//! Batches: arrays whose elements each have a signature.

use super::*;

fn adyen(items: &[&str]) -> Request<Bytes> {
    let adyen = Provider::named("adyen").unwrap();
    let items: Vec<serde_json::Value> = items
        .iter()
        .map(|id| {
            serde_json::json!({ "NotificationRequestItem": {
                "pspReference": id, "eventCode": "AUTHORISATION", "success": "true",
                "merchantReference": "order:with:colons", "amount": { "value": 100, "currency": "EUR" },
            }})
        })
        .collect();
    let body = serde_json::json!({ "notificationItems": items }).to_string();
    let signer = Signer::new(adyen.scheme(), &Secret::new("ab".repeat(32)).unwrap()).unwrap();
    signer.sign_request(post("/", &body), NOW, None).unwrap()
}

#[test]
fn every_element_of_a_batch_must_verify_and_is_an_event() {
    let adyen_scheme = Provider::named("adyen").unwrap();
    let key = Secret::new("ab".repeat(32)).unwrap();
    let verifier = Verifier::builder(adyen_scheme.scheme())
        .key(key)
        .build()
        .unwrap();
    let scope = ReplayScope::new(&["test"]);
    let keys = |ids: &[&str]| {
        delivery(&verifier, &adyen(ids))
            .unwrap()
            .replay_keys(&scope)
    };
    let (one, other, both) = (keys(&["p1"]), keys(&["p2"]), keys(&["p1", "p2"]));
    assert_eq!((one.len(), both.len()), (1, 2));
    assert!(both.contains(&one[0]) && both.contains(&other[0]));
    assert_eq!(both, keys(&["p2", "p1"]));
    assert_eq!(keys(&["p1", "p1"]), one);
    let verified = delivery(&verifier, &adyen(&["p1"])).unwrap();
    assert_eq!(verified.id(), Some("p1 AUTHORISATION true"));

    let text = String::from_utf8(adyen(&["p1", "p2"]).body().to_vec()).unwrap();
    for (from, to) in [
        ("\"p2\"", "\"p3\""),
        ("\"p1\"", "\"p3\""),
        ("\"hmacSignature\":", "\"x\":"),
    ] {
        let forged = post("/", &text.replacen(from, to, 1));
        assert!(delivery(&verifier, &forged).is_err(), "{from}");
    }
    for body in [
        "",
        "{}",
        r#"{"notificationItems":[]}"#,
        r#"{"notificationItems":{}}"#,
        r#"{"notificationItems":[1]}"#,
    ] {
        assert!(delivery(&verifier, &post("/", body)).is_err(), "{body}");
    }
}

/// The signatures of a batch cover its elements, so the hash of the incoming body is no use here.
#[test]
fn a_long_batch_that_arrives_in_pieces_is_verified_by_its_elements() {
    let adyen_scheme = Provider::named("adyen").unwrap();
    let [key, other] = ["ab", "cd"].map(|digits| Secret::new(digits.repeat(32)).unwrap());
    let text = String::from_utf8(adyen(&["p1", "p2"]).body().to_vec()).unwrap();
    let forged = text.replacen("\"p2\"", "\"p3\"", 1);
    for keys in [vec![&key], vec![&other, &key]] {
        let mut builder = Verifier::builder(adyen_scheme.scheme());
        for key in keys {
            builder = builder.key(key.clone());
        }
        let verifier = builder.build().unwrap();
        for (text, is_good) in [(&text, true), (&forged, false)] {
            for len in [1 << 20, (1 << 20) + 1, 2_500_000] {
                // The blanks are whitespace of JSON: the elements stay short.
                let body = format!("{text}{}", " ".repeat(len - text.len()));
                for piece in [len, 1 << 20, 70_001] {
                    let request = post("/", "");
                    let begun = verifier.begin(Head::from(&request), NOW).unwrap();
                    let HeadOutcome::Delivery(mut pending) = begun else {
                        panic!("a delivery was taken for a handshake");
                    };
                    for piece in body.as_bytes().chunks(piece) {
                        pending.push(Bytes::copy_from_slice(piece));
                    }
                    pending.push(Bytes::new());
                    let verdict = pending.finish(NOW);
                    assert_eq!(verdict.is_ok(), is_good, "{len} by {piece}");
                }
            }
        }
    }
}
