//! Errors sorted by who is to blame: the sender's are [`VerifyError`], the
//! operator's are [`SecretError`] and [`Problems`](crate::document::Problems).

use std::fmt;

/// Why a delivery did not verify.
///
/// Small, and without any data from the request, so that it can go to logs,
/// metrics and response extensions as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
// A result that is a large value or one of these is moved in whole words: odd pieces wait for
// each other.
#[repr(align(8))]
pub enum VerifyError {
    /// The signature is absent.
    SignatureMissing,
    /// What carries the signature occurs more than once.
    SignatureRepeated,
    /// The signature does not follow the scheme's grammar.
    SignatureMalformed,
    /// There are signatures, but none of the scheme's version or algorithm.
    SignatureVersionUnknown,
    /// More candidate signatures than [`MAX_CANDIDATES`](crate::MAX_CANDIDATES).
    SignatureTooMany,
    /// No signature matches under any active key.
    SignatureMismatch,
    /// No key is active at this time.
    NoActiveKey,
    /// The timestamp is absent.
    TimestampMissing,
    /// The timestamp occurs more than once.
    TimestampRepeated,
    /// The timestamp is not of the scheme's form.
    TimestampMalformed,
    /// The timestamp is older than the window allows.
    TimestampTooOld,
    /// The timestamp lies further ahead than the window allows.
    TimestampTooNew,
    /// A part of the signed message is absent: a header, a query or form
    /// field, a member of the body.
    FieldMissing,
    /// A part of the signed message occurs more than once.
    FieldRepeated,
    /// A part of the signed message is not of the scheme's form.
    FieldMalformed,
    /// Two values that the scheme demands to be equal differ, such as the
    /// body's digest and the one that is signed.
    RequirementUnmet,
    /// Headers of two schemes that exclude each other came together.
    SchemesMixed,
    /// A request of a provider's handshake that must not be answered.
    HandshakeRefused,
}

impl VerifyError {
    /// Every variant, for tables and metrics.
    pub const ALL: &'static [Self] = &[
        Self::SignatureMissing,
        Self::SignatureRepeated,
        Self::SignatureMalformed,
        Self::SignatureVersionUnknown,
        Self::SignatureTooMany,
        Self::SignatureMismatch,
        Self::NoActiveKey,
        Self::TimestampMissing,
        Self::TimestampRepeated,
        Self::TimestampMalformed,
        Self::TimestampTooOld,
        Self::TimestampTooNew,
        Self::FieldMissing,
        Self::FieldRepeated,
        Self::FieldMalformed,
        Self::RequirementUnmet,
        Self::SchemesMixed,
        Self::HandshakeRefused,
    ];

    /// Stable label for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureRepeated => "signature_repeated",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureVersionUnknown => "signature_version_unknown",
            Self::SignatureTooMany => "signature_too_many",
            Self::SignatureMismatch => "signature_mismatch",
            Self::NoActiveKey => "no_active_key",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampRepeated => "timestamp_repeated",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampTooNew => "timestamp_too_new",
            Self::FieldMissing => "field_missing",
            Self::FieldRepeated => "field_repeated",
            Self::FieldMalformed => "field_malformed",
            Self::RequirementUnmet => "requirement_unmet",
            Self::SchemesMixed => "schemes_mixed",
            Self::HandshakeRefused => "handshake_refused",
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SignatureMissing => "the signature is missing",
            Self::SignatureRepeated => "the signature occurs more than once",
            Self::SignatureMalformed => "the signature does not follow the scheme's grammar",
            Self::SignatureVersionUnknown => "no signature of the scheme's version",
            Self::SignatureTooMany => "too many signatures",
            Self::SignatureMismatch => "no signature matches",
            Self::NoActiveKey => "no key is active now",
            Self::TimestampMissing => "the timestamp is missing",
            Self::TimestampRepeated => "the timestamp occurs more than once",
            Self::TimestampMalformed => "the timestamp is not of the scheme's form",
            Self::TimestampTooOld => "the timestamp is too old",
            Self::TimestampTooNew => "the timestamp lies too far in the future",
            Self::FieldMissing => "a signed field is missing",
            Self::FieldRepeated => "a signed field occurs more than once",
            Self::FieldMalformed => "a signed field is not of the scheme's form",
            Self::RequirementUnmet => "two values that have to be equal differ",
            Self::SchemesMixed => "headers of two schemes are mixed",
            Self::HandshakeRefused => "a handshake that must not be answered",
        })
    }
}

impl std::error::Error for VerifyError {}

/// Why a secret cannot be used. A start-up error, never a sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// Nothing there, or only white space.
    Blank,
    /// A placeholder that nobody filled in, such as `${SECRET}`.
    Placeholder,
    /// Longer than [`Secret::MAX_LEN`](crate::Secret::MAX_LEN).
    TooLong,
    /// The environment variable is not set, or is not UTF-8.
    Environment(String),
    /// Does not decode as the scheme says. Holds the encoding that was expected.
    Encoding(&'static str),
    /// Decodes to a length that the scheme's algorithm cannot use.
    Length {
        /// What the algorithm needs, in bytes.
        expected: usize,
        /// What it is, in bytes.
        found: usize,
    },
    /// Not a valid public key of the scheme's algorithm.
    PublicKey,
    /// Not a valid private key of the scheme's algorithm.
    PrivateKey,
    /// Does not begin as secrets of the scheme do.
    Prefix,
    /// Printed in public documentation: everybody can sign with it.
    Published,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("the secret is empty; anybody could sign with it"),
            Self::Placeholder => f.write_str("the secret is a placeholder that was not filled in"),
            Self::TooLong => write!(
                f,
                "the secret is longer than {} bytes",
                crate::Secret::MAX_LEN
            ),
            Self::Environment(name) => {
                write!(
                    f,
                    "the environment variable {name} is not set (or not UTF-8)"
                )
            }
            Self::Encoding(expected) => {
                write!(f, "the secret does not decode; expected {expected}")
            }
            Self::Length { expected, found } => {
                write!(
                    f,
                    "the secret decodes to {found} bytes; expected {expected}"
                )
            }
            Self::PublicKey => {
                f.write_str("the secret is not a valid public key of the scheme's algorithm")
            }
            Self::PrivateKey => {
                f.write_str("the secret is not a valid private key of the scheme's algorithm")
            }
            Self::Prefix => f.write_str("the secret does not begin as those of the scheme do"),
            Self::Published => f.write_str(
                "the secret is printed in public documentation; anybody can sign with it",
            ),
        }
    }
}

impl std::error::Error for SecretError {}
