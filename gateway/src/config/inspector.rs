//! The settings of the inspector: its users, the limits of its records, and its redaction.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secrets::SecretRef;

/// The table `[inspector]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InspectorConfig {
    pub(crate) access: InspectorAccess,
    pub(crate) storage: InspectorStorage,
    pub(crate) capture: CaptureConfig,
}

/// Where records and captures are kept. A reload cannot change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InspectorStorage {
    /// Maximum number of records in memory.
    pub(crate) keep: usize,
    /// The records on disk.
    pub(crate) history: Option<HistoryConfig>,
    /// The folder for captures on disk.
    pub(crate) capture_dir: Option<PathBuf>,
}

/// The users of the inspector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InspectorAccess {
    pub(crate) tokens: Vec<AdminToken>,
    /// Host names of the admin address, beside `localhost` and IP addresses, in lower case.
    pub(crate) hosts: Vec<String>,
}

/// A token that authenticates a user of the inspector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminToken {
    /// The name of the token in logs.
    pub(crate) name: String,
    /// Where the configuration has the text of the token. The process does not keep the text.
    pub(crate) from: SecretRef,
    digest: TokenDigest,
    pub(crate) may: Permission,
}

/// SHA-256 of a token. The time that a comparison of digests takes says nothing about the token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest([u8; 32]);

/// The acts that a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// See deliveries.
    Read,
    /// See deliveries, send them again, and forget events.
    Act,
}

/// The records on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryConfig {
    pub(crate) path: PathBuf,
    /// How long a record is kept.
    pub(crate) keep_for: Duration,
}

/// The limits of captures, and the values that they leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureConfig {
    /// How long a capture is kept.
    pub(crate) keep_for: Duration,
    /// Maximum size of all captures in memory, in bytes. The files have the same limit.
    pub(crate) max_bytes: usize,
    /// The values to redact, besides the built-in ones.
    pub(crate) redact: Vec<Redaction>,
}

/// The deliveries of a source whose heads and bodies are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CaptureScope {
    #[default]
    None,
    /// Deliveries that were refused or failed. A delivery that its sender only has to send again
    /// does not count; see `CaptureScope::includes`.
    Refused,
    All,
}

/// A value that a capture must not contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redaction {
    Header(HeaderName),
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
}

impl AdminToken {
    /// Creates a token from its secret text, which was read from `from`.
    pub(crate) fn new(name: String, from: SecretRef, secret: &[u8], may: Permission) -> Self {
        let digest = TokenDigest::of(secret);
        Self {
            name,
            from,
            digest,
            may,
        }
    }

    /// Whether `other` has the same secret text.
    pub(crate) fn is_same_secret(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Whether `digest` is the digest of this token. They are compared in constant time: the first
    /// bytes of the digest would show which guesses to try.
    pub(crate) fn has_digest(&self, digest: &TokenDigest) -> bool {
        self.digest.0.ct_eq(&digest.0).into()
    }
}

impl TokenDigest {
    /// Returns the digest of a token.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Shows nothing: the digest of a guessable token would allow guesses offline.
impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

impl Permission {
    /// Returns the value of the key `may`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

impl CaptureScope {
    /// Returns the value of the key `capture`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Refused => "refused",
            Self::All => "all",
        }
    }
}
