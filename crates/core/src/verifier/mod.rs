//! Verification in three states: [`Verifier`], [`Pending`], [`Verified`].
//!
//! * [`Verifier::begin`] checks the head of a delivery: `checked_head.rs` and `head_fields.rs`.
//! * [`Pending`] collects the body.
//! * [`Pending::finish`] checks the signature over the message: `body_check.rs`.
//!
//! There is no other way to a [`Verified`], which holds exactly the bytes that were verified.
//! `handshake.rs` responds to the requests by which a provider checks who owns an endpoint.

mod after_url;
mod body;
mod body_check;
mod body_hash;
mod body_view;
mod build_error;
mod builder;
mod checked_head;
mod detached;
mod endpoint;
mod fetched_key;
mod handshake;
mod head_fields;
mod head_segments;
mod head_view;
mod jwt;
mod key;
mod lookup;
mod paired_hash;
mod pending;
mod render;
mod settings;
mod signing_input;
mod verified;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};

pub use self::body::Chunk;
pub use self::body_hash::BodyHash;
pub use self::build_error::BuildError;
pub use self::builder::VerifierBuilder;
pub(crate) use self::builder::find_variant;
pub(crate) use self::detached::signing_input as detached_signing_input;
pub(crate) use self::endpoint::UrlText;
pub use self::fetched_key::FetchedKey;
use self::handshake::LateHandshake;
use self::head_view::HeadView;
pub(crate) use self::jwt::Claims;
pub use self::key::Key;
use self::key::PreparedKey;
pub use self::paired_hash::hash_paired;
pub use self::pending::Pending;
pub(crate) use self::settings::SchemeSettings;
pub(crate) use self::signing_input::SigningInput;
pub use self::verified::{Verified, VerifiedFacts};
use crate::error::VerifyError;
use crate::head::Head;
use crate::scheme::handshake::{HandshakeSignature, MAX_PROBE};
use crate::scheme::{Plan, Scheme, TimestampField, Variant};
use crate::time::{UnixTime, Window};

/// Verifies the deliveries of one source.
#[derive(Clone)]
pub struct Verifier {
    scheme: Scheme,
    /// The operator's window, which replaces the scheme's.
    window: Option<Window>,
    ages: Ages,
    settings: Arc<SchemeSettings>,
    /// Index of the variant that the operator has chosen.
    pinned: Option<usize>,
    /// Number of secrets.
    secrets: usize,
    /// The first reading of each secret, in the order of the secrets, and then all second
    /// readings.
    keys: Vec<PreparedKey>,
    /// Where the keys come from. A verifier that fetches has no `keys`.
    key_source: KeySource,
}

/// Where the keys of a verifier come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeySource {
    /// The operator has configured them.
    Configured,
    /// The provider publishes them, and each delivery names one.
    Fetched,
}

/// Whether the times at which a signature begins and ceases to be valid count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ages {
    Checked,
    /// Captures verify at any age.
    Ignored,
}

/// The result of checking the head of a request.
pub enum HeadOutcome<'v> {
    /// A delivery, whose body is checked next.
    Delivery(Pending<'v>),
    /// A handshake, by which the provider checks who owns the endpoint. Send this response, and
    /// forward nothing.
    Handshake(Box<Response<Bytes>>),
}

/// The result of checking a complete request.
pub enum RequestOutcome {
    /// A delivery that verified.
    Delivery(Verified),
    /// A handshake, by which the provider checks who owns the endpoint. Send this response, and
    /// forward nothing.
    Handshake(Box<Response<Bytes>>),
}

impl RequestOutcome {
    /// Returns the delivery, if the request is not a handshake.
    pub fn delivery(self) -> Option<Verified> {
        match self {
            Self::Delivery(verified) => Some(verified),
            Self::Handshake(_) => None,
        }
    }
}

impl Verifier {
    /// Creates a builder for a verifier of `scheme`.
    pub fn builder(scheme: &Scheme) -> VerifierBuilder {
        VerifierBuilder::new(scheme)
    }

    /// The scheme of the deliveries.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Returns the enabled variants of the scheme.
    pub fn variants(&self) -> impl Iterator<Item = Variant<'_>> {
        let variants = self.scheme.variants().enumerate();
        variants
            .filter(|(index, _)| self.scheme.is_enabled(*index, self.pinned))
            .map(|(_, variant)| variant)
    }

    /// Returns the window for timestamps.
    ///
    /// If the enabled variants have different windows, the result contains all of them.
    pub fn window(&self) -> Window {
        let windows = self.variants().filter_map(Variant::window);
        let widest = windows.reduce(Window::widest);
        self.window.or(widest).unwrap_or_default()
    }

    /// Returns the positions, from 0, of keys that are short enough to be guessed.
    ///
    /// Such a key decodes to fewer than [`Secret::WEAK_LEN`](crate::Secret::WEAK_LEN) bytes.
    pub fn weak_keys(&self) -> impl Iterator<Item = usize> {
        self.keys[..self.secrets]
            .iter()
            .enumerate()
            .filter(|(_, key)| key.weak)
            .map(|(index, _)| index)
    }

    /// Returns the positions, from 0, of keys that are active at `time`.
    pub fn active_keys(&self, time: UnixTime) -> impl Iterator<Item = usize> {
        let keys = self.keys[..self.secrets].iter().enumerate();
        keys.filter(move |(_, key)| key.is_active(time))
            .map(|(index, _)| index)
    }

    /// Whether each delivery names a key that is to be fetched.
    ///
    /// [`Pending::key_reference`] then returns the reference, and
    /// [`Pending::finish_with_key`] verifies.
    pub fn fetches_keys(&self) -> bool {
        self.key_source == KeySource::Fetched
    }

    /// Returns the ids of all keys, active or not.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys[..self.secrets].iter().map(|key| &*key.id)
    }

    /// Whether a request with `method` can be a delivery: it is POST, or an enabled variant of
    /// the scheme signs deliveries with this method.
    pub fn is_delivery_method(&self, method: &Method) -> bool {
        *method == Method::POST || self.plans().any(|(_, plan)| plan.method == *method)
    }

    /// Whether a request with `method` can be a handshake.
    pub fn is_handshake_method(&self, method: &Method) -> bool {
        let handshakes = &self.scheme.compiled().handshakes;
        handshakes
            .iter()
            .any(|handshake| handshake.method == *method)
    }

    /// Checks the head of a request.
    ///
    /// Every field of the head that the scheme reads must occur exactly once and be
    /// well-formed, and the timestamp must be inside the window. The check needs no byte of the
    /// body, so call it before reading the body.
    ///
    /// # Errors
    ///
    /// Returns a [`VerifyError`] if the delivery cannot verify, whatever its body is.
    pub fn begin(&self, head: Head<'_>, now: UnixTime) -> Result<HeadOutcome<'_>, VerifyError> {
        let mut pending = self.begin_refused(VerifyError::SignatureMissing);
        Ok(
            match self.check_head(&mut pending, head, || declared_len(head), now)? {
                None => HeadOutcome::Delivery(pending),
                Some(response) => HeadOutcome::Handshake(response.into()),
            },
        )
    }

    /// Verifies a complete request.
    ///
    /// # Errors
    ///
    /// Returns a [`VerifyError`] if the delivery does not verify.
    pub fn verify(
        &self,
        head: Head<'_>,
        body: Bytes,
        now: UnixTime,
    ) -> Result<RequestOutcome, VerifyError> {
        let mut pending = self.begin_refused(VerifyError::SignatureMissing);
        match self.check_head(&mut pending, head, || Some(body.len()), now)? {
            Some(response) => Ok(RequestOutcome::Handshake(response.into())),
            None => {
                pending.push(body);
                pending.finish(now)
            }
        }
    }

    /// Checks `head` and stores the result in `pending`. Returns the response if the request is
    /// a handshake that needs no body.
    ///
    /// `body_len` is the length of the body, if it is known. Only probes need it.
    ///
    /// The result is written in place because a [`Pending`] is large: returning it by value
    /// copies it.
    fn check_head(
        &self,
        pending: &mut Pending<'_>,
        head: Head<'_>,
        body_len: impl Fn() -> Option<usize>,
        now: UnixTime,
    ) -> Result<Option<Response<Bytes>>, VerifyError> {
        let handshakes = &self.scheme.compiled().handshakes;
        for (index, handshake) in handshakes.iter().enumerate() {
            if *head.method != handshake.method || !self.head_matches(handshake, head) {
                continue;
            }
            if handshake.signature == HandshakeSignature::Absent
                && (self.scheme.has_signature(head) || body_len().is_none_or(|len| len > MAX_PROBE))
            {
                continue;
            }
            let view = HeadView::new(head, &self.settings);
            if handshake.waits_for_body {
                let late = LateHandshake::new(index, handshake, &view);
                pending.handshakes.push(late);
                continue;
            }
            let response =
                self.handshake_response(handshake, &|variable| view.value(variable), now)?;
            return Ok(Some(response));
        }
        pending.head = self.begin_delivery(head, now);
        let mut late = pending.handshakes.iter();
        match pending.head {
            Err(error) if late.all(|late| handshakes[late.index].needs_valid_signature()) => {
                Err(error)
            }
            _ => Ok(None),
        }
    }

    /// Returns this verifier without the checks of age: it accepts timestamps outside of the
    /// window, and expired tokens.
    pub(crate) fn ignoring_age(self) -> Self {
        Self {
            window: Some(Window::new(Duration::MAX, Duration::MAX)),
            ages: Ages::Ignored,
            ..self
        }
    }

    /// Returns a delivery that will fail with `error` whatever its body is.
    ///
    /// A source that only observes needs the body of such a delivery, too.
    pub(crate) fn begin_refused(&self, error: VerifyError) -> Pending<'_> {
        Pending::new(self, Err(error))
    }

    /// Returns the enabled plans, each with its index.
    fn plans(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let plans = self.scheme.plans().iter().enumerate();
        plans.filter(|(index, _)| self.scheme.is_enabled(*index, self.pinned))
    }

    fn window_of(&self, field: &TimestampField) -> Window {
        self.window.unwrap_or(field.window)
    }
}

/// Returns the value of `Content-Length`; `None` if it is absent, as in a chunked body.
fn declared_len(head: Head<'_>) -> Option<usize> {
    let value = head.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().ok()).flatten()
}

/// Does not show the response to a handshake, which may be signed.
impl fmt::Debug for HeadOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivery(pending) => f.debug_tuple("Delivery").field(pending).finish(),
            Self::Handshake(response) => f
                .debug_tuple("Handshake")
                .field(&response.status())
                .finish(),
        }
    }
}

/// Does not show the response to a handshake, which may be signed.
impl fmt::Debug for RequestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivery(verified) => f.debug_tuple("Delivery").field(verified).finish(),
            Self::Handshake(response) => f
                .debug_tuple("Handshake")
                .field(&response.status())
                .finish(),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.key_ids().collect();
        f.debug_struct("Verifier")
            .field("window", &self.window)
            .field("keys", &keys)
            .finish()
    }
}
