//! The keys of a verifier.

use std::sync::Arc;

use crate::error::SecretError;
use crate::mac;
use crate::scheme::Scheme;
use crate::secret::Secret;
use crate::time::UnixTime;

/// A secret with an id and a period in which it is active.
#[derive(Clone, Debug)]
pub struct Key {
    pub(super) secret: Secret,
    pub(super) id: Option<String>,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
}

impl Key {
    /// Creates a key that is always active. Its id is its position, from 1.
    pub const fn new(secret: Secret) -> Self {
        Self {
            secret,
            id: None,
            not_before: None,
            not_after: None,
        }
    }

    /// Sets the id of the key, which [`Verified::key_id`](crate::Verified::key_id) returns.
    ///
    /// The id must be unique among the keys of a verifier, and have 1 to 256 visible ASCII
    /// characters. [`VerifierBuilder::build`](crate::VerifierBuilder::build) checks both.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the first time at which the key is active.
    #[must_use]
    pub fn not_before(mut self, time: UnixTime) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Sets the last time at which the key is active.
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

/// A key that is decoded for the plans of a scheme.
#[derive(Clone)]
pub(super) struct PreparedKey {
    pub(super) id: Arc<str>,
    pub(super) not_before: Option<UnixTime>,
    pub(super) not_after: Option<UnixTime>,
    pub(super) weak: bool,
    /// The key for each plan, by its index. `None` if the secret belongs to other plans.
    pub(super) plans: Box<[Option<mac::Key>]>,
}

impl PreparedKey {
    pub(super) fn is_active(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }
}

/// A secret that is decoded for the plans of a scheme.
pub(super) struct DecodedSecret {
    pub(super) weak: bool,
    pub(super) plans: Box<[Option<mac::Key>]>,
}

impl DecodedSecret {
    /// Decodes `secret` for every enabled plan that it belongs to.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Prefix`] if the secret belongs to no enabled plan,
    /// [`SecretError::Published`] if it is one of `published`, and the errors of decoding it.
    pub(super) fn new(
        scheme: &Scheme,
        pinned: Option<usize>,
        secret: &Secret,
        published: &[Secret],
    ) -> Result<Self, SecretError> {
        let mut weak = false;
        let mut keys = Vec::with_capacity(scheme.plans().len());
        for (index, plan) in scheme.plans().iter().enumerate() {
            if !scheme.is_enabled(index, pinned) || !plan.key.is_for(secret) {
                keys.push(None);
                continue;
            }
            if published
                .iter()
                .any(|p| mac::Key::is_same_secret(&plan.key, secret, p))
            {
                return Err(SecretError::Published);
            }
            weak |= plan.key.is_weak(secret);
            keys.push(Some(mac::Key::new(plan.algorithm, &plan.key, secret)?));
        }
        if keys.iter().all(Option::is_none) {
            return Err(SecretError::Prefix);
        }
        Ok(Self {
            weak,
            plans: keys.into(),
        })
    }
}
