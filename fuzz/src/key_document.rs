//! Fuzz target: any document with the public keys of a provider.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use hookgate_core::{Provider, Scheme};
use hookgate_keys::{DocumentError, read_keys};
use serde_json::Value;

/// Providers with each format of documents.
const PROVIDERS: [&str; 8] = [
    "microsoft-bot-framework",
    "truelayer",
    "oidc",
    "plaid",
    "ebay",
    "atlassian-connect",
    "github-secret-scanning",
    "aws-sns",
];

/// The id of a key that its document does not name.
const ID: &str = "unnamed";

/// Reads the bytes after the first one as a document. The first byte chooses the provider.
///
/// Each id belongs to one key, and the document names it. The order of a list, and a key that is
/// listed twice, change nothing.
pub fn key_document(data: &[u8]) {
    let Some((choice, document)) = data.split_first() else {
        return;
    };
    let schemes = schemes();
    let scheme = &schemes[usize::from(*choice) % schemes.len()];
    let Ok(ids) = ids(scheme, document) else {
        return;
    };
    let Ok(json) = serde_json::from_slice::<Value>(document) else {
        assert_eq!(ids, BTreeSet::from([ID.to_owned()]));
        return;
    };
    for id in &ids {
        assert!(id == ID || contains(&json, id), "{id:?}");
    }
    let reversed = with_lists(&json, |list| list.iter().rev().cloned().collect());
    let doubled = with_lists(&json, |list| [list, list].concat());
    for changed in [reversed, doubled] {
        match self::ids(scheme, changed.to_string().as_bytes()) {
            Err(DocumentError::TooLarge) => {}
            again => assert_eq!(again, Ok(ids.clone())),
        }
    }
}

fn schemes() -> &'static [Scheme] {
    static SCHEMES: OnceLock<Vec<Scheme>> = OnceLock::new();
    SCHEMES.get_or_init(|| {
        let schemes = PROVIDERS
            .iter()
            .map(|name| Provider::named(name).unwrap().scheme().clone());
        schemes.collect()
    })
}

/// Returns the ids of the keys in a document.
fn ids(scheme: &Scheme, document: &[u8]) -> Result<BTreeSet<String>, DocumentError> {
    let keys = read_keys(scheme, ID, document)?;
    let ids: BTreeSet<_> = keys.iter().map(|key| key.id().to_owned()).collect();
    assert!((1..=1000).contains(&keys.len()));
    assert_eq!(ids.len(), keys.len(), "an id has two keys");
    Ok(ids)
}

/// Returns the document with another list in place of each list.
fn with_lists(json: &Value, change: fn(&[Value]) -> Vec<Value>) -> Value {
    match json {
        Value::Array(list) => {
            let list = list.iter().map(|value| with_lists(value, change));
            Value::Array(change(&list.collect::<Vec<_>>()))
        }
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), with_lists(value, change)))
                .collect()
        }
        value => value.clone(),
    }
}

/// Returns whether the document has `text` as a value.
fn contains(json: &Value, text: &str) -> bool {
    match json {
        Value::String(value) => value == text,
        Value::Array(list) => list.iter().any(|value| contains(value, text)),
        Value::Object(members) => members.values().any(|value| contains(value, text)),
        _ => false,
    }
}
