//! The controls: two comparisons with a fault, and a comparison without a fault.

use std::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::hidden::hide;

pub type Comparison = fn(&[u8], &[u8]) -> bool;

/// Compares byte by byte, up to the first difference.
#[inline(never)]
pub fn early_exit(expected: &[u8], tag: &[u8]) -> bool {
    for (expected, tag) in expected.iter().zip(tag) {
        if expected != tag {
            return false;
        }
    }
    true
}

#[inline(never)]
pub fn slice_equality(expected: &[u8], tag: &[u8]) -> bool {
    expected == tag
}

#[inline(never)]
pub fn constant_time(expected: &[u8], tag: &[u8]) -> bool {
    expected.ct_eq(tag).into()
}

/// Verifies a forged tag by `comparison`. `verdict.supp` allows a function of this name to branch on
/// the verdict.
#[inline(never)]
pub fn find_match_by(comparison: Comparison) {
    let secret = black_box(b"kR7-shared-text-of-a-secret".to_vec());
    hide(&secret);
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).expect("any length fits");
    mac.update(b"{}");
    let expected = mac.finalize().into_bytes();
    let tag = black_box([7; 32]);
    if black_box(comparison(&expected, &tag)) {
        black_box(&expected);
        panic!("the tag is forged");
    }
}
