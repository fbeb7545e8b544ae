//! Fuzz target: any reply of a Redis server.
//!
//! The library `redis` reads the protocol. This target takes a value of the library, and checks the
//! verdict of the store on this value.

use std::time::Duration;

use hookgate_core::ReplayKey;
use hookgate_replay::redis::{claim, is_suitable};
use hookgate_replay::{Claim, Lease};
use redis::{Value, VerbatimFormat};

const KEY: ReplayKey = ReplayKey::from_bytes([7; 16]);
const TOKEN: u64 = 0x5f0c_8a6d_e2b9_4a13;
const OTHER_TOKEN: u64 = TOKEN + 1;

/// A byte of the input that is replaced by the token of the claim.
const GENUINE: u8 = 1;

/// Takes the bytes after the first one as the reply to a claim, or to INFO. The first byte chooses
/// the type of the reply.
///
/// Only the text that the script writes for a token grants a claim with that token.
pub fn redis_reply(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let mut reply = Vec::new();
    for byte in bytes {
        match *byte {
            GENUINE => reply.extend_from_slice(token_text(TOKEN).as_bytes()),
            byte => reply.push(byte),
        }
    }
    let text = std::str::from_utf8(&reply).ok();
    match (kind % 8, text) {
        (0, Some(text)) => check_info(text),
        (1, Some(text)) => check_claim(&Value::SimpleString(text.to_owned()), Some(text)),
        (2, Some(text)) => {
            let format = VerbatimFormat::Text;
            let value = Value::VerbatimString {
                format,
                text: text.to_owned(),
            };
            check_claim(&value, Some(text));
        }
        (3, _) => check_claim(&Value::Array(words(&reply)), None),
        (4, _) => check_claim(&Value::Set(words(&reply)), None),
        (5, _) => check_claim(&Value::Nil, None),
        (6, _) => check_claim(&Value::Int(reply.len() as i64), None),
        _ => check_claim(&Value::BulkString(reply.clone()), text),
    }
}

/// Compares the verdict on a reply with a second reading of its text.
fn check_claim(value: &Value, text: Option<&str>) {
    let read = claim(value.clone(), KEY, TOKEN).ok();
    assert_eq!(read, text.and_then(second_reading), "{text:?}");
    // A reply that was lost shifts those behind it. None of them is the reply of another claim.
    let of_other = text.is_some_and(|text| text.starts_with(&token_text(OTHER_TOKEN)));
    assert!(of_other || claim(value.clone(), KEY, OTHER_TOKEN).is_err());
}

fn second_reading(text: &str) -> Option<Claim> {
    let reply = text.strip_prefix(&token_text(TOKEN))?.strip_prefix(' ')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    Some(match reply {
        "done" => Claim::Done,
        "conflict" => Claim::Conflict,
        "full" => Claim::Full,
        "forgotten" => Claim::Forgotten,
        _ => match reply.split_once(' ').filter(|(_, number)| digits(number))? {
            ("granted", attempt) => Claim::Granted(Lease::new(KEY, TOKEN, attempt.parse().ok()?)),
            ("inflight", millis) => Claim::InFlight {
                remaining: Duration::from_millis(millis.parse().ok()?),
            },
            _ => return None,
        },
    })
}

/// A server that is used keeps every claim: it evicts no key, is a master, and has a new version.
fn check_info(text: &str) {
    if !is_suitable(text) {
        return;
    }
    let last = |name: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields = lines.filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(found, _)| *found == name);
        named.map(|(_, value)| value).next_back()
    };
    assert_eq!(last("maxmemory_policy"), Some("noeviction"));
    assert!(last("role").is_none_or(|role| role == "master"));
    assert!(last("loading").is_none_or(|loading| loading == "0"));
    let version = last("valkey_version").or_else(|| last("redis_version"));
    let mut numbers = version
        .unwrap_or_default()
        .split('.')
        .map(str::parse::<u32>);
    if let (Some(Ok(major)), Some(Ok(_))) = (numbers.next(), numbers.next()) {
        assert!(major >= 7, "{version:?}");
    }
}

fn words(reply: &[u8]) -> Vec<Value> {
    let words = reply.split(|byte| *byte == b' ');
    words.map(|word| Value::BulkString(word.to_vec())).collect()
}

fn token_text(token: u64) -> String {
    format!("{token:016x}")
}
