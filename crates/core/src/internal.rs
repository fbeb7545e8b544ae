//! Items that the crates of this workspace share.
//!
//! They are not part of the public API: they can change in any release.

use std::net::{IpAddr, Ipv6Addr};

pub use crate::catalogue::read_scheme;
#[cfg(feature = "toml")]
pub use crate::document::parse;
pub use crate::document::{FromValue, Report, Section, Table, Value, text};
pub use crate::error_chain::ErrorChain;
pub use crate::scheme::fetch::{
    FetchRule, KeyFormat, NamePattern, PathPattern, TokenRule, is_label,
};
pub use crate::scheme::format::{Format, ListFormat, Place, format_of, formats};
pub use crate::scheme::location::decode_field;
pub use crate::scheme::secrets::{JsonStep, SecretLocation};
pub use crate::suggestion::nearest;
pub use crate::units::{duration_text, size_text};
pub use crate::verifier::{BodyHash, VerifiedFacts, hash_paired};
use bytes::Bytes;
use http::{HeaderName, Request};

use crate::scheme::location::Location;
use crate::{
    BuildError, Head, Pending, ReplayScope, Scheme, Secret, Signer, UnixTime, Variant, Verified,
    Verifier, VerifierBuilder, VerifyError,
};

/// Returns the network that one client controls: an IPv4 address or an IPv6 /64.
pub fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            const PREFIX: u128 = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & PREFIX).into()
        }
        address => address,
    }
}

/// Returns a number that stands for `scope` in a store: the same in every process and version.
pub fn scope_number(scope: &ReplayScope) -> u64 {
    scope.number()
}

/// Returns the rule by which the keys of `scheme` are fetched, if it has one.
pub fn fetch_rule(scheme: &Scheme) -> Option<&FetchRule> {
    scheme.fetch_rule()
}

/// Returns the locations from which any variant or handshake of `scheme` reads a token, a
/// password or a JSON Web Token.
pub fn secret_locations(scheme: &Scheme) -> Vec<SecretLocation> {
    scheme.secret_locations()
}

/// Returns the headers from which the variants of `scheme` read the event id.
pub fn event_id_headers(scheme: &Scheme) -> Vec<HeaderName> {
    let plans = scheme.plans().iter();
    let ids = plans.flat_map(|plan| plan.id.iter().flat_map(|id| &id.locations));
    ids.filter_map(Location::header).cloned().collect()
}

/// Returns the variant with which `signer` signs `request`.
pub fn variant_for<'s>(signer: &'s Signer, request: &Request<Bytes>) -> Variant<'s> {
    signer.variant_for(request)
}

/// Creates a secret without its checks, to sign as a forger would.
///
/// No verifier may use it: a placeholder is not a secret.
pub fn unchecked_secret(text: impl Into<Vec<u8>>) -> Secret {
    Secret::unchecked(text.into())
}

/// Returns the headers from which the variants of `scheme` read the event type.
pub fn event_type_headers(scheme: &Scheme) -> Vec<HeaderName> {
    let types = scheme.plans().iter().flat_map(|plan| &plan.event_type);
    types.filter_map(Location::header).cloned().collect()
}

/// Makes the verifier accept deliveries of every age: timestamps outside of the window, and
/// expired tokens.
///
/// Only deliveries that an operator has captured are verified like this. A gate that ignores
/// the age of other deliveries accepts replays.
pub fn ignore_age(verifier: Verifier) -> Verifier {
    verifier.ignoring_age()
}

/// Gives the body of `verified` a buffer of its own. Before, it may be a slice of a larger one.
pub fn copy_body(verified: &mut Verified) {
    verified.copy_body();
}

/// Returns the verified values of a delivery, for storing it.
pub fn verified_facts(verified: &Verified) -> VerifiedFacts {
    verified.facts()
}

/// Restores a delivery from its verified values and its body. Nothing is verified.
///
/// `facts` must come from [`verified_facts`], for a delivery with this body: the result is
/// trusted like a delivery that has just verified.
pub fn restore_verified(facts: VerifiedFacts, scheme: &Scheme, body: Bytes) -> Verified {
    Verified::from_facts(facts, scheme, body)
}

/// Returns a delivery that will fail with `error` whatever its body is.
///
/// A source that only observes needs the body of such a delivery, too.
pub fn begin_refused(verifier: &Verifier, error: VerifyError) -> Pending<'_> {
    verifier.begin_refused(error)
}

/// Returns the timestamp in `head`, if the head has a readable one. It may be forged.
pub fn claimed_timestamp(verifier: &Verifier, head: Head<'_>) -> Option<UnixTime> {
    verifier.claimed_timestamp(head)
}

/// Returns the header that has the event id, if the scheme has one. Both may be forged.
pub fn claimed_id_header<'v>(verifier: &'v Verifier, head: Head<'_>) -> Option<&'v HeaderName> {
    verifier.claimed_id_header(head)
}

/// Builds a verifier without keys, which describes its scheme and refuses every delivery.
///
/// # Errors
///
/// Returns the errors of [`VerifierBuilder::build`], except for those about keys.
pub fn build_without_keys(builder: VerifierBuilder) -> Result<Verifier, BuildError> {
    builder.build_without_keys()
}

/// Returns a digest of each key that the secrets of `builder` become, under the keyed hash of
/// `salt`. Two builders of one scheme have a digest in common if they have a key in common.
pub fn key_digests(builder: &VerifierBuilder, salt: &[u8]) -> Vec<[u8; 16]> {
    builder.key_digests(salt)
}

/// Whether `a` and `b` verify with the same settings. Their schemes and keys are not compared.
pub fn have_equal_settings(a: &VerifierBuilder, b: &VerifierBuilder) -> bool {
    a.has_settings_of(b)
}

/// Whether `id` is a well-formed id: 1 to 256 visible ASCII characters.
pub fn is_valid_id(id: &[u8]) -> bool {
    crate::scheme::field::is_valid_id(id)
}

/// Takes the hash of the body out of `pending`, for hashing it beside that of another delivery.
///
/// Outside of this crate, only its test `catalogue` uses this function, [`BodyHash`] and
/// [`restore_body_hash`]. Other crates call [`hash_paired`].
///
/// Returns `None` if fewer than `min_len` bytes wait to be hashed, or if hashing two bodies
/// side by side saves no time. [`restore_body_hash`] must follow before anything else is done
/// with `pending`: without its hash no signature matches.
pub fn take_body_hash(pending: &mut Pending<'_>, min_len: usize) -> Option<BodyHash> {
    pending.take_body_hash(min_len)
}

/// Puts back the hash that [`take_body_hash`] took.
pub fn restore_body_hash(pending: &mut Pending<'_>, hash: BodyHash) {
    pending.restore_body_hash(hash);
}
