//! The origin's view: the requests that it took out of a connection. The checker computes the
//! signature of each one anew.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use hookgate_tests::TestProvider;
use serde::Deserialize;
use sha2::Sha256;

/// A request as an origin read it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    /// The body in hexadecimal.
    pub(super) body: String,
}

/// The requests of an origin, divided by their signatures.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The number of requests that are genuine deliveries.
    pub(super) genuine: usize,
    /// Requests without a valid signature, and deliveries that arrived twice.
    pub(super) flagged: Vec<String>,
}

/// Reads the log of an origin: one request in JSON on each line.
pub(super) fn read_log(path: &Path) -> Vec<Received> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(serde_json::from_str);
    lines
        .map(|line| line.expect("the origin writes JSON"))
        .collect()
}

/// Computes the MAC of each request anew.
pub(super) fn check(received: &[Received]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut arrivals: HashMap<&str, usize> = HashMap::new();
    for request in received {
        let seen = arrivals.entry(&request.body).or_default();
        *seen += 1;
        match is_genuine(request) && *seen == 1 {
            true => verdict.genuine += 1,
            false => verdict
                .flagged
                .push(format!("{} {}", request.method, request.target)),
        }
    }
    verdict
}

fn is_genuine(request: &Received) -> bool {
    let field = |name: &str| {
        let mut values = request.fields.iter();
        let mut values = values
            .by_ref()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    };
    let (Some(timestamp), Some(signature)) =
        (field("x-beatapi-timestamp"), field("x-beatapi-signature"))
    else {
        return false;
    };
    let Ok(body) = hex::decode(&request.body) else {
        return false;
    };
    let secret = TestProvider::named("beatapi").secret;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is valid");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(&body);
    let path = request.target.split('?').next();
    request.method == "POST"
        && path == Some("/hooks/beatapi")
        && hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
}

#[test]
fn a_request_that_nobody_signed_and_a_second_copy_are_flagged() {
    let provider = TestProvider::named("beatapi");
    let body = provider.body("evt_1");
    let fields = provider.sign(&body, hookgate_tests::now(), "evt_1");
    let fields = fields.iter().map(|(name, value)| {
        (
            name.to_string(),
            value.to_str().expect("the value is text").to_owned(),
        )
    });
    let genuine = Received {
        method: "POST".to_owned(),
        target: "/hooks/beatapi".to_owned(),
        fields: fields.collect(),
        body: hex::encode(&body),
    };
    let changed = [
        Received {
            method: "GET".to_owned(),
            ..genuine.clone()
        },
        Received {
            target: "/smuggled".to_owned(),
            ..genuine.clone()
        },
        Received {
            body: hex::encode("{}"),
            ..genuine.clone()
        },
        Received {
            fields: Vec::new(),
            ..genuine.clone()
        },
        Received {
            fields: [&genuine.fields[..], &genuine.fields].concat(),
            ..genuine.clone()
        },
    ];
    assert_eq!(check(std::slice::from_ref(&genuine)).genuine, 1);
    for request in changed {
        assert_eq!(
            check(std::slice::from_ref(&request)).flagged.len(),
            1,
            "{request:?}"
        );
    }
    let twice = check(&[genuine.clone(), genuine]);
    assert_eq!((twice.genuine, twice.flagged.len()), (1, 1));
}
