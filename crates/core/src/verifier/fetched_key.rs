//! Keys that are fetched: the reference of a delivery to its key, and a key that was handed in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::body_view::BodyView;
use super::checked_head::{CheckedHead, SignatureCheck};
use super::head_fields::item_or_value;
use super::head_view::HeadView;
use super::key::PreparedKey;
use super::{RequestOutcome, Verifier};
use crate::error::{SecretError, VerifyError};
use crate::mac::Algorithm;
use crate::scheme::location::Location;
use crate::scheme::{KeyReference, Plan, Scheme, field};
use crate::time::UnixTime;

/// A public key that was fetched from a provider, ready to verify.
#[derive(Clone)]
pub struct FetchedKey(pub(super) Arc<PreparedKey>);

impl FetchedKey {
    /// Prepares a key of `scheme`.
    ///
    /// `public_key` is a `SubjectPublicKeyInfo` (RFC 5280), the raw point of an elliptic curve,
    /// or a PKCS#1 key for RSA. The key counts from `not_before` to `not_after`.
    ///
    /// # Errors
    ///
    /// Returns a [`SecretError`] if the key is not one of the scheme's algorithm. An RSA key
    /// has 2048 to 8192 bits.
    pub fn new(
        scheme: &Scheme,
        id: &str,
        public_key: &[u8],
        not_before: Option<UnixTime>,
        not_after: Option<UnixTime>,
    ) -> Result<Self, SecretError> {
        let prepare = |plan: &Plan| match plan.algorithm {
            Algorithm::Public(_) => plan.mac_key(public_key).map(Some),
            _ => Ok(None),
        };
        let plans: Result<Box<[_]>, _> = scheme.plans().iter().map(prepare).collect();
        Ok(Self(Arc::new(PreparedKey {
            id: id.into(),
            not_before,
            not_after,
            weak: false,
            plans: plans?,
        })))
    }

    /// Returns the id of the key.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Whether the key counts at `time`.
    pub fn is_active(&self, time: UnixTime) -> bool {
        self.0.is_active(time)
    }
}

impl fmt::Debug for FetchedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FetchedKey").field(&self.0.id).finish()
    }
}

impl Verifier {
    /// Adds the checks of a delivery whose key is to be fetched, and the values of its head that
    /// name the key.
    ///
    /// # Errors
    ///
    /// Returns `no_key` if the verifier has keys of its own, and an error of the reference.
    pub(super) fn add_fetched_key(
        &self,
        view: &HeadView<'_>,
        plan: &Plan,
        checked: &mut CheckedHead,
        no_key: VerifyError,
    ) -> Result<(), VerifyError> {
        let rule = self.scheme.fetch_rule();
        let rule = rule.filter(|_| self.fetches_keys()).ok_or(no_key)?;
        let read = |location: &Option<Location>| -> Result<_, VerifyError> {
            match location {
                Some(location) if !location.is_in_body() => {
                    Ok(Some(text(&item_or_value(plan, view, location)?)?))
                }
                _ => Ok(None),
            }
        };
        let reference = KeyReference {
            id: read(&rule.id)?,
            url: read(&rule.named_url)?,
        };
        checked.rare().key = Some(reference);
        let messages = 0..checked.messages.len();
        let check = |message| SignatureCheck { key: 0, message };
        checked.checks.extend(messages.map(check));
        Ok(())
    }

    /// Checks all that a delivery says but its signature, and returns the reference to its key.
    pub(super) fn key_reference(
        &self,
        head: &CheckedHead,
        body: &[u8],
        now: UnixTime,
    ) -> Result<KeyReference, VerifyError> {
        let plan = &self.scheme.plans()[head.plan];
        let view = BodyView::new(body, &plan.json, &self.settings, Some(plan));
        self.check_unsigned(plan, head, &view, now)?;
        let rule = self.scheme.fetch_rule().ok_or(VerifyError::NoActiveKey)?;
        let view = BodyView::new(body, &rule.json, &self.settings, Some(plan));
        let mut reference = head.key_reference().cloned().unwrap_or_default();
        for (location, value) in [
            (&rule.id, &mut reference.id),
            (&rule.named_url, &mut reference.url),
        ] {
            if let Some(location) = location.as_ref().filter(|at| at.is_in_body()) {
                *value = Some(text(&view.at(location)?)?);
            }
        }
        Ok(reference)
    }
}

/// Returns the text of a reference: 1 to 256 visible ASCII characters.
fn text(value: &[u8]) -> Result<Box<str>, VerifyError> {
    let text = Some(value).filter(|value| field::is_valid_id(value));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    text.map(Into::into).ok_or(VerifyError::FieldMalformed)
}

impl super::Pending<'_> {
    /// Returns the reference to the key that this delivery needs, if its key is to be fetched.
    ///
    /// Call it when the body is complete. All checks but that of the signature have passed then,
    /// so no key is fetched for a delivery that fails without it. Returns `None` if the verifier
    /// has keys of its own, or if the request is a handshake that needs no signature:
    /// [`finish`](Self::finish) decides about such a request.
    ///
    /// # Errors
    ///
    /// Returns the error with which the delivery fails whatever its key is.
    pub fn key_reference(&mut self, now: UnixTime) -> Result<Option<KeyReference>, VerifyError> {
        if !self.verifier.fetches_keys() {
            return Ok(None);
        }
        let body = self.take_body();
        self.push(body.clone());
        let handshake =
            self.verifier
                .late_handshake_response(&self.handshakes, false, &body, now)?;
        if handshake.is_some() {
            return Ok(None);
        }
        match &self.head {
            Ok(head) => self.verifier.key_reference(head, &body, now).map(Some),
            Err(error) => Err(*error),
        }
    }

    /// Checks the signature with a key that was fetched, and returns the body in any case.
    ///
    /// # Errors
    ///
    /// The errors are those of [`finish`](Self::finish).
    pub fn finish_with_key(
        mut self,
        key: &FetchedKey,
        now: UnixTime,
    ) -> (Bytes, Result<RequestOutcome, VerifyError>) {
        let body = self.take_body();
        let outcome = self.check_with(std::slice::from_ref(&*key.0), body.clone(), now);
        (body, outcome)
    }
}
