//! A test with the deliveries of the repository that verify: their bodies show no sign.

use hookgate_core::Provider;

use super::tests::signs_of;
use super::{Sign, Strength};
use crate::cause::Code;

/// A delivery that a provider or its library has made.
struct Known {
    provider: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Returns the deliveries of the repository that verify.
fn known_deliveries() -> Vec<Known> {
    let mut all = Vec::new();
    for file in ["bug_reports", "catalogue", "sdk_vectors", "seeds"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
        let text = std::fs::read(format!("{folder}/{file}.json")).unwrap();
        let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for vector in vectors.as_array().unwrap() {
            let Some(body) = vector["body"].as_str() else {
                continue;
            };
            let is_delivery = vector["kind"]
                .as_str()
                .is_none_or(|kind| kind != "handshake");
            let provider = vector["provider"]
                .as_str()
                .and_then(|name| Provider::named(name).ok());
            if vector["expect"] != "accept"
                || vector["method"] == "GET"
                || !is_delivery
                || provider.is_none()
            {
                continue;
            }
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let headers = match &vector["headers"] {
                serde_json::Value::Object(headers) => headers
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                pairs => pairs
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|pair| (text(&pair[0]), text(&pair[1])))
                    .collect(),
            };
            all.push(Known {
                provider: text(&vector["provider"]),
                headers,
                body: body.to_owned(),
            });
        }
    }
    all
}

#[test]
fn known_deliveries_show_no_sign() {
    let mut tried = 0;
    for delivery in known_deliveries() {
        let len = delivery.body.len().to_string();
        let mut headers: Vec<(&str, &str)> = delivery
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        for with_length in [false, true] {
            if with_length {
                headers.push(("content-length", &len));
            }
            let signs = signs_of(&delivery.provider, &headers, delivery.body.as_bytes());
            let likely = |sign: &&Sign| sign.strength >= Strength::Likely;
            let found: Vec<_> = signs.iter().filter(likely).collect();
            // An empty body without a length is unusual, but some vectors have one.
            let is_known = delivery.body.is_empty() && !with_length;
            assert!(
                found.is_empty() || (is_known && found[0].cause.code == Code::BodyMissing),
                "{}: {found:?} {}",
                delivery.provider,
                delivery.body
            );
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried} deliveries");
}
