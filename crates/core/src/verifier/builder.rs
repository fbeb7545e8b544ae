use std::fmt;

use super::{MAX_KEYS, PreparedKey, Verifier};
use crate::error::SecretError;
use crate::mac;
use crate::provider::Provider;
use crate::scheme::{Scheme, field};
use crate::secret::Secret;
use crate::time::{UnixTime, Window};

/// A secret with a name and a time in which it counts.
#[derive(Clone, Debug)]
pub struct Key {
    secret: Secret,
    id: Option<String>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
}

impl Key {
    /// A key that always counts, named by its position.
    pub const fn new(secret: Secret) -> Self {
        Self {
            secret,
            id: None,
            not_before: None,
            not_after: None,
        }
    }

    /// Names the key, for [`Verified::key_id`](crate::Verified::key_id).
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Makes the key count from `time` on.
    #[must_use]
    pub fn not_before(mut self, time: UnixTime) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Makes the key count up to and with `time`.
    #[must_use]
    pub fn not_after(mut self, time: UnixTime) -> Self {
        self.not_after = Some(time);
        self
    }
}

impl From<Secret> for Key {
    fn from(secret: Secret) -> Self {
        Self::new(secret)
    }
}

/// Builds a [`Verifier`].
#[derive(Debug)]
pub struct VerifierBuilder {
    scheme: Scheme,
    keys: Vec<Key>,
    window: Window,
    published: Published,
}

/// Whether secrets that public documentation prints may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    Refused,
    Allowed,
}

impl VerifierBuilder {
    pub(super) fn new(scheme: &Scheme) -> Self {
        Self {
            scheme: scheme.clone(),
            keys: Vec::new(),
            window: scheme.window().unwrap_or_default(),
            published: Published::Refused,
        }
    }

    /// Adds a key. A delivery passes if it is signed with any of them.
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets the window; the scheme's own if not set.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Lets secrets pass that the documentation of some provider prints, and
    /// with which anybody can sign: for tests.
    #[must_use]
    pub fn with_insecure_published_secrets(mut self) -> Self {
        self.published = Published::Allowed;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// [`BuildError`] without a key, with more than [`MAX_KEYS`], with two of
    /// the same id, or with a secret that does not fit the scheme or that
    /// some provider's documentation prints.
    pub fn build(self) -> Result<Verifier, BuildError> {
        match self.keys.len() {
            0 => return Err(BuildError::NoKey),
            1..=MAX_KEYS => {}
            _ => return Err(BuildError::TooManyKeys),
        }
        let plan = self.scheme.plan();
        let published = match self.published {
            Published::Refused => Provider::all_published_secrets(),
            Published::Allowed => Vec::new(),
        };
        let mut keys: Vec<PreparedKey> = Vec::with_capacity(self.keys.len());
        for (index, key) in self.keys.into_iter().enumerate() {
            let wrong = |error| BuildError::Secret { index, error };
            if published
                .iter()
                .any(|p| mac::Key::is_same_secret(&plan.key, &key.secret, p))
            {
                return Err(wrong(SecretError::Published));
            }
            let id = key.id.unwrap_or_else(|| (index + 1).to_string());
            if !field::is_id(id.as_bytes(), b"") || keys.iter().any(|other| *other.id == *id) {
                return Err(BuildError::KeyId { index });
            }
            keys.push(PreparedKey {
                id: id.into(),
                not_before: key.not_before,
                not_after: key.not_after,
                weak: plan.key.is_weak(&key.secret),
                key: mac::Key::new(plan.algorithm, &plan.key, &key.secret).map_err(wrong)?,
            });
        }
        Ok(Verifier {
            scheme: self.scheme,
            window: self.window,
            keys,
        })
    }
}

/// Why a verifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// No key was given: nothing could ever verify.
    NoKey,
    /// More than [`MAX_KEYS`] keys were given.
    TooManyKeys,
    /// The id of key `index` is taken, or not 1 to 256 visible ASCII characters.
    KeyId {
        /// Position of the key, from 0.
        index: usize,
    },
    /// The secret of key `index` cannot be used.
    Secret {
        /// Position of the key, from 0.
        index: usize,
        /// Why.
        error: SecretError,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no key; expected at least one"),
            Self::TooManyKeys => write!(f, "too many keys; expected at most {MAX_KEYS}"),
            Self::KeyId { index } => write!(
                f,
                "key {index}: expected an id of its own, of 1 to 256 visible ASCII characters"
            ),
            Self::Secret { index, error } => write!(f, "key {index}: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}
