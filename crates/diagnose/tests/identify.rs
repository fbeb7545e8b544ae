//! Identifies every genuine delivery of the repository's vectors.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine;
use hookgate_core::UnixTime;
use hookgate_diagnose::{Capture, Match, SecretText, identify};
use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;

/// A delivery whose scheme is known.
struct Vector {
    name: String,
    provider: String,
    secret: String,
    url: Option<String>,
    params: Vec<(String, String)>,
    capture: Capture,
}

impl Vector {
    fn new(name: String, json: &Value) -> Self {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let body = match (&json["body"], &json["body_base64"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, Value::String(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap(),
            _ => Vec::new(),
        };
        let time = ["now", "timestamp_now", "at"]
            .iter()
            .find_map(|key| json[*key].as_i64());
        Self {
            name,
            provider: text("provider").unwrap(),
            secret: text("secret").unwrap(),
            url: text("url"),
            params: params(&json["params"]),
            capture: Capture {
                method: text("method").map_or(Method::POST, |method| method.parse().unwrap()),
                target: None,
                headers: headers(&json["headers"]),
                body: body.into(),
                arrived: time.map(UnixTime::from_secs),
            },
        }
    }

    fn identify(&self) -> Vec<Match> {
        let secret = SecretText::new(self.secret.clone());
        identify(&self.capture, &[secret], self.url.as_deref(), &self.params)
    }
}

fn headers(json: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut append = |name: &str, value: &Value| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.as_str().unwrap().parse().unwrap());
    };
    match json {
        Value::Object(members) => members.iter().for_each(|(name, value)| append(name, value)),
        Value::Array(lines) => lines
            .iter()
            .for_each(|line| append(line[0].as_str().unwrap(), &line[1])),
        _ => {}
    }
    headers
}

fn params(json: &Value) -> Vec<(String, String)> {
    match json {
        Value::Object(members) => {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            members
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect()
        }
        Value::Array(pairs) => pairs
            .iter()
            .filter_map(|pair| pair.as_str()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns every genuine delivery. A handshake is not a delivery.
fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (file, text) in [
        ("seeds", include_str!("../../../tests/vectors/seeds.json")),
        (
            "catalogue",
            include_str!("../../../tests/vectors/catalogue.json"),
        ),
        (
            "sdk_vectors",
            include_str!("../../../tests/vectors/sdk_vectors.json"),
        ),
        (
            "bug_reports",
            include_str!("../../../tests/vectors/bug_reports.json"),
        ),
        (
            "genuine",
            include_str!("../../../tests/explain/genuine.json"),
        ),
    ] {
        let json: Vec<Value> = serde_json::from_str(text).unwrap();
        for (index, json) in json.iter().enumerate() {
            let is_good = json["expect"] == "accept" || file == "genuine";
            if is_good && json["kind"] != "handshake" {
                vectors.push(Vector::new(format!("{file} {index}"), json));
            }
        }
    }
    vectors
}

/// Providers that share a scheme are misses too, unless the delivery names the right one.
#[test]
fn most_vectors_are_identified_first_and_nearly_all_among_three() {
    let vectors = vectors();
    let (mut first, mut among_three) = (0, 0);
    let mut misses: Vec<String> = Vec::new();
    for vector in &vectors {
        let found = vector.identify();
        let mut names = found.iter().map(|found| found.provider.name());
        let place = names.position(|name| name == vector.provider);
        first += usize::from(place == Some(0));
        among_three += usize::from(place.is_some_and(|place| place < 3));
        if place != Some(0) {
            let found = found.iter().take(3).map(|found| found.provider.name());
            let found = found.collect::<Vec<_>>().join(", ");
            misses.push(format!("{} of {}: {found}", vector.name, vector.provider));
        }
    }
    // A lost vector would pass unnoticed. Correct the numbers when you add one.
    assert_eq!(
        (first, among_three, vectors.len()),
        (249, 260, 264),
        "{misses:#?}"
    );
    assert!(first * 100 >= vectors.len() * 90);
    assert!(among_three * 100 >= vectors.len() * 97);
}

/// The control: no scheme verifies a delivery with another secret.
#[test]
fn nothing_is_proved_with_another_secret() {
    let mut guessed = 0;
    for mut vector in vectors() {
        vector.secret = "whsec_YW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMgZm9yIGl0ISE=".to_owned();
        let found = vector.identify();
        let proved = found.iter().find(|found| found.proved);
        assert!(proved.is_none(), "{}: {proved:?}", vector.name);
        let mut names = found.iter().map(|found| found.provider.name());
        guessed += usize::from(names.any(|name| name == vector.provider));
    }
    assert!(guessed > 200, "{guessed}");
}
