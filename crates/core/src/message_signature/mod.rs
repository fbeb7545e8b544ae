//! HTTP message signatures (RFC 9421) over requests, and the digest of the body (RFC 9530).
//!
//! This module has no keys. To verify, [`Policy::read`] returns the signature base and the signature
//! over it. To sign, [`Draft`] returns the signature base and then writes the headers.
//!
//! A signature can cover header fields and `@method`, `@target-uri`, `@authority`, `@scheme`,
//! `@request-target`, `@path`, `@query` and `@query-param`. The module is stricter than the RFC,
//! because a smaller grammar leaves fewer ways to misread a request:
//!
//! * A component has no parameters, except `name` on `@query-param`. So a signature covers a field as
//!   a whole: not one member (`key`), not reserialized (`sf`), not wrapped (`bs`). `req` is for
//!   responses only, and a trailer (`tr`) arrives after the body.
//! * A repeated parameter is refused. Structured fields take its last value.
//! * `alg` may confirm the algorithm of the scheme but never chooses one (§7.3.6).
//!
//! The signature covers unknown parameters of a signature too, and they have no effect.

//!
//! Without the feature `rfc9421`, the module only describes such a scheme. Its verifiers and signers
//! cannot be built.

#[cfg(not(feature = "rfc9421"))]
mod absent;
mod address;
mod component;
#[cfg(feature = "rfc9421")]
mod covered_components;
#[cfg(feature = "rfc9421")]
mod dictionary;
#[cfg(feature = "rfc9421")]
mod digest;
#[cfg(feature = "rfc9421")]
mod draft;
#[cfg(feature = "rfc9421")]
mod query;
#[cfg(feature = "rfc9421")]
mod read;
#[cfg(feature = "rfc9421")]
mod signed_request;
#[cfg(feature = "rfc9421")]
#[cfg(test)]
mod tests;

use std::fmt;

#[cfg(not(feature = "rfc9421"))]
pub(crate) use self::absent::Digests;
pub(crate) use self::address::Address;
pub(crate) use self::component::Component;
#[cfg(feature = "rfc9421")]
pub(crate) use self::digest::Digests;
#[cfg(feature = "rfc9421")]
pub(crate) use self::draft::{Draft, DraftError, Metadata};
use crate::time::UnixTime;

/// The demands of a scheme on a signature (RFC 9421 §3.2.1).
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The label of the signature. Without a label, the request must have only one signature.
    pub(crate) label: Option<String>,
    /// The components that the signature must cover. It may cover more.
    pub(crate) components: Vec<Component>,
    /// The value that the parameter `tag` must have, if any.
    pub(crate) tag: Option<String>,
    /// The name of the algorithm in the registry of RFC 9421 §6.2.
    pub(crate) algorithm: &'static str,
}

/// A signature that satisfies a policy. The caller must verify it over `base`.
#[derive(Clone)]
pub(crate) struct MessageSignature {
    /// The signature base (§2.5): the signed bytes.
    pub(crate) base: Vec<u8>,
    /// The decoded signature. Its length is not checked.
    pub(crate) signature: Vec<u8>,
    pub(crate) created: Option<UnixTime>,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) nonce: Option<String>,
    pub(crate) keyid: Option<String>,
    /// The digests that the body must match. `None` if the signature does not cover them.
    pub(crate) digests: Option<Digests>,
}

/// Shows only the length of the signature: a forger could replay a genuine signature from a log, and
/// the other values come from the sender.
impl fmt::Debug for MessageSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageSignature({} bytes)", self.signature.len())
    }
}

/// Removes the optional whitespace around a field line, which is not part of the value
/// (RFC 9110 §5.5).
pub(crate) fn trim_ows(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}
