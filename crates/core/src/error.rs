//! Errors of verification and of secrets.
//!
//! A [`VerifyError`] is the fault of a delivery's sender. [`SecretError`] and
//! [`Problems`](crate::Problems) are faults of the operator, and occur at start-up alone.

use std::fmt;

use crate::error_chain::ErrorChain;
use crate::limits::MAX_SECRET_LEN;

/// Declares [`VerifyError`] from one table: each row has the documentation of a variant, its
/// name, its label and its message.
macro_rules! verify_errors {
    ($($(#[doc = $doc:literal])+ $variant:ident, $label:literal, $message:literal;)+) => {
        /// Why a delivery did not verify.
        ///
        /// The type is small and holds no data of the request. It can therefore go to logs,
        /// metrics and response extensions as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        // A `Result` of a large value or of this error is moved in whole machine words. Without
        // the alignment it is moved in smaller pieces, each of which waits for the one before.
        #[repr(align(8))]
        pub enum VerifyError {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl VerifyError {
            /// Every variant, for tables and metrics.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Stable label of the variant for logs and metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }

            const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)+
                }
            }
        }
    };
}

verify_errors! {
    /// The signature is missing.
    SignatureMissing, "signature_missing", "the signature is missing";
    /// The header or field that carries the signature occurs more than once.
    SignatureRepeated, "signature_repeated", "the signature occurs more than once";
    /// The signature does not follow the scheme's grammar.
    SignatureMalformed, "signature_malformed",
        "the signature does not follow the scheme's grammar";
    /// The delivery has signatures, but none of the scheme's version or algorithm.
    SignatureVersionUnknown, "signature_version_unknown",
        "no signature has the scheme's version or algorithm";
    /// The delivery offers more than [`MAX_CANDIDATES`](crate::MAX_CANDIDATES) signatures.
    SignatureTooMany, "signature_too_many", "too many signatures";
    /// No signature matches under any active key.
    SignatureMismatch, "signature_mismatch", "no signature matches";
    /// No key is active at this time.
    NoActiveKey, "no_active_key", "no key is active now";
    /// The delivery names a key that lies outside of the addresses that its scheme or the
    /// operator pins.
    KeyReferenceRefused, "key_reference_refused",
        "the delivery names a key outside of the pinned addresses";
    /// The provider does not publish the key that the delivery names, or not yet.
    KeyUnknown, "key_unknown", "the provider publishes no key of that name";
    /// The key that the delivery names cannot be fetched at this time.
    KeyUnavailable, "key_unavailable", "the key cannot be fetched now";
    /// The timestamp is missing.
    TimestampMissing, "timestamp_missing", "the timestamp is missing";
    /// The timestamp occurs more than once.
    TimestampRepeated, "timestamp_repeated", "the timestamp occurs more than once";
    /// The timestamp does not have the scheme's form.
    TimestampMalformed, "timestamp_malformed", "the timestamp does not have the scheme's form";
    /// The timestamp is older than the window allows.
    TimestampTooOld, "timestamp_too_old", "the timestamp is too old";
    /// The timestamp is further in the future than the window allows.
    TimestampTooNew, "timestamp_too_new", "the timestamp is too far in the future";
    /// A part of the signed message is missing: a header, a query or form field, or a member
    /// of the body.
    FieldMissing, "field_missing", "a signed field is missing";
    /// A part of the signed message occurs more than once.
    FieldRepeated, "field_repeated", "a signed field occurs more than once";
    /// A part of the signed message does not have the scheme's form.
    FieldMalformed, "field_malformed", "a signed field does not have the scheme's form";
    /// Two values that the scheme requires to be equal differ, such as the digest of the body
    /// and the digest that is signed.
    RequirementUnmet, "requirement_unmet", "two values that must be equal differ";
    /// The body is a batch, and the signature does not cover every event of the batch.
    BatchUnsigned, "batch_unsigned", "the signature does not cover every event of the batch";
    /// The delivery has headers of two schemes that exclude each other.
    SchemesMixed, "schemes_mixed", "headers of two schemes are mixed";
    /// The request belongs to a provider's handshake, and must not be answered.
    HandshakeRefused, "handshake_refused", "the handshake must not be answered";
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for VerifyError {}

/// Why a secret cannot be used. The error occurs at start-up, never for a delivery.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret is empty, or only white space.
    Blank,
    /// The secret is a placeholder that was not replaced, such as `${SECRET}`.
    Placeholder,
    /// The secret is longer than [`Secret::MAX_LEN`](crate::Secret::MAX_LEN).
    TooLong,
    /// The environment variable of this name is not set, or not UTF-8.
    Environment(String),
    /// The secret does not decode as the scheme says. Holds the encoding that was expected.
    Encoding(&'static str),
    /// The secret decodes in neither of the two ways that the scheme allows. Holds both encodings.
    Encodings([&'static str; 2]),
    /// The secret decodes to a length that the scheme's algorithm cannot use.
    Length {
        /// Length that the algorithm needs, in bytes.
        expected: usize,
        /// Length of the decoded secret, in bytes.
        found: usize,
    },
    /// The secret is not a valid public key of the scheme's algorithm.
    PublicKey,
    /// The secret is not a valid private key of the scheme's algorithm.
    PrivateKey,
    /// The secret does not start with the prefix that secrets of the scheme have.
    Prefix,
    /// Public documentation prints the secret: anyone can sign with it.
    Published,
}

impl SecretError {
    /// Returns the error of a secret that no reading decodes. `earlier` is the error of the
    /// readings before, and `this` that of one more.
    pub(crate) fn of_readings(earlier: Option<Self>, this: Self) -> Self {
        match (earlier, this) {
            (Some(Self::Encoding(one)), Self::Encoding(two)) => Self::Encodings([one, two]),
            (Some(earlier), _) => earlier,
            (None, this) => this,
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("the secret is empty; anyone could sign with it"),
            Self::Placeholder => f.write_str("the secret is a placeholder that was not replaced"),
            Self::TooLong => write!(f, "the secret is longer than {MAX_SECRET_LEN} bytes"),
            Self::Environment(name) => {
                write!(
                    f,
                    "the environment variable {name} is not set, or not UTF-8"
                )
            }
            Self::Encoding(expected) => {
                write!(f, "the secret does not decode; expected {expected}")
            }
            Self::Encodings([one, two]) => {
                write!(f, "the secret does not decode; expected {one}, or {two}")
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
            Self::Prefix => {
                f.write_str("the secret does not start with the prefix of the scheme's secrets")
            }
            Self::Published => f.write_str(
                "the secret is printed in public documentation; anyone can sign with it",
            ),
        }
    }
}

impl std::error::Error for SecretError {}

/// Shows the same as `Display`, with the causes, because `main` prints its error with `Debug`.
impl fmt::Debug for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}
