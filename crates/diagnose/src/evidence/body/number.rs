//! Numbers that a parser of JSON has read and written anew.

use super::{Facts, Shape, Sign, Strength, sign};
use crate::body::json::{Kind, Tokens};
use crate::cause::Code;

/// Returns the sign that the numbers were written anew. It needs no declared length.
pub(super) fn find(facts: &Facts<'_>) -> Option<Sign> {
    if facts.shape != Shape::Json {
        return None;
    }
    let (mut large, mut rounded, mut exponents) = (0, 0, 0);
    let tokens = Tokens::new(facts.body).filter(|token| token.kind == Kind::Number);
    for token in tokens {
        let Ok(text) = std::str::from_utf8(token.text) else {
            continue;
        };
        if is_large(text) {
            large += 1;
            rounded += usize::from(is_rounded(text));
        }
        exponents += usize::from(is_java_exponent(text));
    }
    let summary = if exponents > 0 {
        "the JSON was written anew: Java has written a large number as a floating-point number"
    } else if large > 0 && rounded == large {
        "the JSON was written anew: its large integers end in zeros, as JavaScript rounds them"
    } else {
        return None;
    };
    let strength = match facts.other_len() {
        Some(_) => Strength::Strong,
        None => Strength::Likely,
    };
    Some(sign(Code::BodyJsonRewritten, strength, summary))
}

/// Whether `text` is an integer that a double cannot hold exactly.
fn is_large(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (17..=40).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a large integer has the digits of a double.
fn is_rounded(text: &str) -> bool {
    text.ends_with("00")
        && text
            .parse::<f64>()
            .is_ok_and(|double| double.to_string() == text)
}

/// Whether `text` has the form of `Double.toString` of Java, such as `1.7E9`.
fn is_java_exponent(text: &str) -> bool {
    let parts = text.split_once('E');
    parts.is_some_and(|(digits, exponent)| {
        digits.contains('.') && !exponent.starts_with(['+', '-']) && exponent.len() <= 2
    })
}
