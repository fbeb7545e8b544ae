//! The keys of a verifier.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

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

    /// Returns the secret of the key.
    pub const fn secret(&self) -> &Secret {
        &self.secret
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

/// One reading of a secret, decoded for the plans of a scheme.
pub(super) struct DecodedSecret {
    pub(super) weak: bool,
    pub(super) plans: Box<[Option<mac::Key>]>,
}

impl DecodedSecret {
    /// Decodes `secret` for every enabled plan that it belongs to. The result has one element
    /// for each reading, at least one.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Prefix`] if the secret belongs to no enabled plan,
    /// [`SecretError::Published`] if one of `published` decodes to the same key, and the errors
    /// of decoding.
    pub(super) fn readings(
        scheme: &Scheme,
        pinned: Option<usize>,
        secret: &Secret,
        published: &[Secret],
    ) -> Result<Vec<Self>, SecretError> {
        let plans = scheme.plans();
        let mut readings: Vec<Self> = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            if !scheme.is_enabled(index, pinned) {
                continue;
            }
            let (mut reading, mut error) = (0, None);
            for bytes in plan.key.decode(secret)? {
                if is_published(&plan.key, &bytes, published) {
                    return Err(SecretError::Published);
                }
                let key = match plan.mac_key(&bytes) {
                    Ok(key) => key,
                    Err(found) => {
                        error = Some(SecretError::of_readings(error, found));
                        continue;
                    }
                };
                if reading == readings.len() {
                    readings.push(Self {
                        weak: false,
                        plans: vec![None; plans.len()].into(),
                    });
                }
                readings[reading].weak |= bytes.len() < Secret::WEAK_LEN;
                readings[reading].plans[index] = Some(key);
                reading += 1;
            }
            match error {
                Some(error) if reading == 0 => return Err(error),
                _ => {}
            }
        }
        match readings.is_empty() {
            true => Err(SecretError::Prefix),
            false => Ok(readings),
        }
    }
}

/// Returns the bytes of each key that `secret` becomes for the enabled plans of `scheme`.
pub(super) fn decoded_keys(
    scheme: &Scheme,
    pinned: Option<usize>,
    secret: &Secret,
) -> Vec<Zeroizing<Vec<u8>>> {
    let plans = scheme.plans().iter().enumerate();
    let enabled = plans.filter(|(index, _)| scheme.is_enabled(*index, pinned));
    let keys = enabled.filter_map(|(_, plan)| plan.key.decode(secret).ok());
    keys.flatten().collect()
}

/// Whether a `published` secret has a reading that is `key`.
fn is_published(readings: &mac::KeyReadings, key: &[u8], published: &[Secret]) -> bool {
    let rules = || readings.iter();
    let is_same = |secret: &Secret| {
        let mut keys = rules().filter_map(|rule| rule.decode(secret).ok());
        keys.any(|other| bool::from(other.ct_eq(key)))
    };
    published.iter().any(is_same)
}
