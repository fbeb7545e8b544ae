//! `Verifier → Pending → Verified`: head first, then the body chunk by chunk.
//! There is no other way to a [`Verified`], and it holds the very bytes that
//! were verified.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::error::{SecretError, VerifyError};
use crate::head::Head;
use crate::identity::{Discriminator, Identity, ReplayKey, ReplayScope};
use crate::mac::{self, Running};
use crate::provider::Provider;
use crate::scheme::field::{self, Absence, Candidates};
use crate::scheme::{Location, Plan, Scheme, Segment, SignedHeader, TimestampField, json};
use crate::secret::Secret;
use crate::time::{UnixTime, Window};

/// Most keys of one verifier: each costs a MAC over every body.
pub const MAX_KEYS: usize = 8;

/// Most signatures that one delivery may offer.
pub const MAX_CANDIDATES: usize = 8;

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

    /// Names the key, for [`Verified::key_id`].
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

/// Verifies the deliveries of one source.
#[derive(Clone)]
pub struct Verifier {
    scheme: Scheme,
    window: Window,
    keys: Vec<PreparedKey>,
}

#[derive(Clone)]
struct PreparedKey {
    id: Arc<str>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
    weak: bool,
    key: mac::Key,
}

impl Verifier {
    /// Starts a verifier of `scheme`.
    pub fn builder(scheme: &Scheme) -> VerifierBuilder {
        VerifierBuilder {
            scheme: scheme.clone(),
            keys: Vec::new(),
            window: scheme.window().unwrap_or_default(),
            published: Published::Refused,
        }
    }

    /// The scheme that is verified.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The window in which timestamps pass.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Positions, from 0, of keys that decode to fewer than
    /// [`Secret::WEAK_LEN`] bytes and can be guessed.
    pub fn weak_keys(&self) -> impl Iterator<Item = usize> {
        self.keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.weak)
            .map(|(index, _)| index)
    }

    /// The ids of the keys, whether they count now or not.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    /// Checks the head of a delivery: every header that the scheme reads is
    /// there once and well-formed, and the timestamp is inside the window. No
    /// byte of the body is needed, so this is what to do before reading one.
    ///
    /// # Errors
    ///
    /// Why the delivery cannot verify, whatever its body.
    pub fn begin(&self, head: Head<'_>, now: UnixTime) -> Result<Pending<'_>, VerifyError> {
        let plan = self.scheme.plan();
        let headers = head.headers;
        if plan.forbidden.iter().any(|name| headers.contains_key(name)) {
            return Err(VerifyError::SchemesMixed);
        }
        let signature = plan.signature.value(headers)?;
        let candidates = plan
            .signature
            .candidates(signature.as_bytes(), plan.algorithm.tag_len())?;
        let timestamp = match &plan.timestamp {
            Some(field) => Some(self.read_timestamp(field, headers, signature, now)?),
            None => None,
        };
        let id = read_signed_id(plan, headers)?;
        let more = read_more_headers(plan, headers)?;
        let parts = SignedParts {
            timestamp,
            id,
            more,
        };
        let macs = self.start(&parts, now)?;
        Ok(Pending {
            verifier: self,
            candidates,
            parts,
            macs,
            body: Body::Empty,
        })
    }

    /// Verifies a delivery that is there as a whole.
    ///
    /// # Errors
    ///
    /// Why the delivery does not verify.
    pub fn verify(
        &self,
        head: Head<'_>,
        body: Bytes,
        now: UnixTime,
    ) -> Result<Verified, VerifyError> {
        let mut pending = self.begin(head, now)?;
        pending.push(body);
        pending.finish(now)
    }

    fn read_timestamp(
        &self,
        field: &TimestampField,
        headers: &HeaderMap,
        signature: &HeaderValue,
        now: UnixTime,
    ) -> Result<Timestamp, VerifyError> {
        let raw = match &field.location {
            Location::Header(name) => field::only(headers, name).map(Raw::whole),
            Location::SignatureItem(name) => {
                let item = self
                    .scheme
                    .plan()
                    .signature
                    .item(signature.as_bytes(), name.as_bytes());
                item.map(|range| Raw {
                    value: signature.clone(),
                    range,
                })
            }
            Location::Json(_) => Err(Absence::Missing),
        };
        let raw = raw.map_err(|absence| match absence {
            Absence::Missing => VerifyError::TimestampMissing,
            Absence::Repeated => VerifyError::TimestampRepeated,
        })?;
        let at = field
            .unit
            .parse(raw.bytes())
            .ok_or(VerifyError::TimestampMalformed)?;
        self.window.check(at, now, field.unit.precision())?;
        Ok(Timestamp { raw, at })
    }

    /// Starts a MAC for every key that is active now.
    fn start(&self, parts: &SignedParts, now: UnixTime) -> Result<Macs, VerifyError> {
        let mut macs = Macs::new();
        for (index, key) in self
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.is_active(now))
        {
            let running = key.key.start().map(|mut running| {
                parts.feed(&self.scheme.plan().message.before_body, |bytes| {
                    running.update(bytes)
                });
                running
            });
            macs.push((index, running));
        }
        if macs.is_empty() {
            Err(VerifyError::NoActiveKey)
        } else {
            Ok(macs)
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

impl PreparedKey {
    fn is_active(&self, now: UnixTime) -> bool {
        self.not_before.is_none_or(|start| start <= now)
            && self.not_after.is_none_or(|end| now <= end)
    }
}

fn read_signed_id(plan: &Plan, headers: &HeaderMap) -> Result<Option<Raw>, VerifyError> {
    let Some(id) = plan.id.as_ref().filter(|id| id.signed) else {
        return Ok(None);
    };
    let Location::Header(name) = &id.location else {
        return Ok(None);
    };
    let value = header(headers, name)?;
    if !field::is_id(value.as_bytes(), &id.exclude) {
        return Err(VerifyError::HeaderMalformed);
    }
    Ok(Some(Raw::whole(value)))
}

fn read_more_headers(plan: &Plan, headers: &HeaderMap) -> Result<MoreHeaders, VerifyError> {
    plan.message
        .headers()
        .map(|SignedHeader { name, delimiter }| {
            let value = header(headers, name)?;
            if delimiter.is_some_and(|delimiter| value.as_bytes().contains(&delimiter)) {
                return Err(VerifyError::HeaderMalformed);
            }
            Ok((name.clone(), Raw::whole(value)))
        })
        .collect()
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, VerifyError> {
    field::only(headers, name).map_err(|absence| match absence {
        Absence::Missing => VerifyError::HeaderMissing,
        Absence::Repeated => VerifyError::HeaderRepeated,
    })
}

// === impl VerifierBuilder ===

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

// === impl Pending ===

/// A delivery whose head is good, and whose body is arriving.
#[derive(Debug)]
pub struct Pending<'v> {
    verifier: &'v Verifier,
    candidates: Candidates,
    parts: SignedParts,
    macs: Macs,
    body: Body,
}

/// One MAC for each active key, by the key's index.
type Macs = SmallVec<[(usize, Option<Running>); 1]>;

/// Values of the `{header:NAME}` segments.
type MoreHeaders = SmallVec<[(HeaderName, Raw); 1]>;

impl Pending<'_> {
    /// Takes the next chunk of the body.
    pub fn push(&mut self, chunk: Bytes) {
        for (_, running) in &mut self.macs {
            if let Some(running) = running {
                running.update(&chunk);
            }
        }
        self.body.push(chunk);
    }

    /// Makes room for `bytes` of body in all, if more than one chunk comes.
    pub fn expect_len(&mut self, bytes: usize) {
        if matches!(self.body, Body::Empty) {
            self.body = Body::Expected(bytes);
        }
    }

    /// Length of the body so far, in bytes.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no byte of the body has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the signature over the whole, and the timestamp once more: a slow
    /// body must not outlive the window.
    ///
    /// # Errors
    ///
    /// [`VerifyError::SignatureMismatch`], or that the window has passed.
    pub fn finish(self, now: UnixTime) -> Result<Verified, VerifyError> {
        let Self {
            verifier,
            candidates,
            parts,
            macs,
            body,
        } = self;
        let plan = verifier.scheme.plan();
        let body = body.into_bytes();
        let key_index = matching_key(verifier, &candidates, &parts, macs, &body)
            .ok_or(VerifyError::SignatureMismatch)?;
        if let (Some(timestamp), Some(field)) = (&parts.timestamp, &plan.timestamp) {
            verifier
                .window
                .check(timestamp.at, now, field.unit.precision())?;
        }
        // From here on everything is signed.
        let (id, event_type) = read_names(plan, &parts, &body);
        let discriminator = match (id, &parts.timestamp) {
            (Some(id), _) => Discriminator::Id(id),
            (None, Some(_)) => Discriminator::Exact(parts.digest(plan, &body)),
            (None, None) => Discriminator::Content(parts.digest(plan, &body)),
        };
        Ok(Verified {
            body,
            event_type,
            timestamp: parts.timestamp.map(|timestamp| timestamp.at),
            key_id: verifier.keys[key_index].id.clone(),
            discriminator,
        })
    }
}

/// The index of a key that fits a candidate. Looks at every pair, so that the
/// time taken says nothing about which one fits.
fn matching_key(
    verifier: &Verifier,
    candidates: &Candidates,
    parts: &SignedParts,
    macs: Macs,
    body: &[u8],
) -> Option<usize> {
    let message = &verifier.scheme.plan().message;
    let mut matching = None;
    let mut whole = None;
    for (index, running) in macs {
        match running {
            Some(mut running) => {
                parts.feed(&message.after_body, |bytes| running.update(bytes));
                let expected = running.finish();
                for candidate in candidates {
                    if expected.matches(candidate) {
                        matching = Some(index);
                    }
                }
            }
            None => {
                let whole = whole.get_or_insert_with(|| parts.whole(verifier.scheme.plan(), body));
                for candidate in candidates {
                    if verifier.keys[index].key.verify(whole, candidate) {
                        matching = Some(index);
                    }
                }
            }
        }
    }
    matching
}

/// The event's id and type, from what is signed.
fn read_names(
    plan: &Plan,
    parts: &SignedParts,
    body: &[u8],
) -> (Option<Box<str>>, Option<Box<str>>) {
    let signed_id = plan.id.as_ref().filter(|id| id.signed);
    let pointers = [signed_id.map(|id| &id.location), plan.event_type.as_ref()]
        .map(|location| location.and_then(Location::pointer));
    let [id, event_type] = json::texts(body, pointers);
    let usable = |text: &str, exclude: &[u8]| field::is_id(text.as_bytes(), exclude);
    let id = match &parts.id {
        Some(raw) => std::str::from_utf8(raw.bytes()).ok().map(Box::from),
        None => id
            .filter(|id| usable(id, signed_id.map_or(b"", |field| &field.exclude)))
            .map(String::into_boxed_str),
    };
    (
        id,
        event_type
            .filter(|text| usable(text, b""))
            .map(String::into_boxed_str),
    )
}

/// What the head contributes to the signed message, as raw text.
#[derive(Debug)]
struct SignedParts {
    timestamp: Option<Timestamp>,
    id: Option<Raw>,
    more: MoreHeaders,
}

#[derive(Debug)]
struct Timestamp {
    raw: Raw,
    at: UnixTime,
}

impl SignedParts {
    /// Hands the bytes of `segments` to `take`, one after the other. `segments`
    /// is one of the two halves of the message.
    fn feed(&self, segments: &[Segment], mut take: impl FnMut(&[u8])) {
        for segment in segments {
            match segment {
                Segment::Literal(text) => take(text),
                Segment::Timestamp => {
                    if let Some(timestamp) = &self.timestamp {
                        take(timestamp.raw.bytes());
                    }
                }
                Segment::Id => {
                    if let Some(id) = &self.id {
                        take(id.bytes());
                    }
                }
                Segment::Header(SignedHeader { name, .. }) => {
                    if let Some((_, raw)) = self.more.iter().find(|(other, _)| other == name) {
                        take(raw.bytes());
                    }
                }
            }
        }
    }

    fn feed_all(&self, plan: &Plan, body: &[u8], mut take: impl FnMut(&[u8])) {
        self.feed(&plan.message.before_body, &mut take);
        take(body);
        self.feed(&plan.message.after_body, &mut take);
    }

    fn whole(&self, plan: &Plan, body: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(body.len() + 128);
        self.feed_all(plan, body, |bytes| whole.extend_from_slice(bytes));
        whole
    }

    /// SHA-256 of the signed message. Not the signature: that differs from key
    /// to key, and a delivery signed with two would pass twice.
    fn digest(&self, plan: &Plan, body: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        self.feed_all(plan, body, |bytes| digest.update(bytes));
        digest.finalize().into()
    }
}

/// A part of a header's value, kept without copying it.
#[derive(Clone, Debug)]
struct Raw {
    value: HeaderValue,
    range: Range<usize>,
}

impl Raw {
    fn whole(value: &HeaderValue) -> Self {
        Self {
            value: value.clone(),
            range: 0..value.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.value.as_bytes()[self.range.clone()]
    }
}

/// The body as it arrives. A single chunk is kept as it is.
enum Body {
    Empty,
    Expected(usize),
    One(Bytes),
    Many(BytesMut),
}

impl Body {
    fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        match self {
            Self::Empty => *self = Self::One(chunk),
            Self::Expected(len) if chunk.len() < *len => {
                let mut body = BytesMut::with_capacity(*len);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            Self::Expected(_) => *self = Self::One(chunk),
            Self::One(first) => {
                let mut body = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                body.extend_from_slice(first);
                body.extend_from_slice(&chunk);
                *self = Self::Many(body);
            }
            Self::Many(body) => body.extend_from_slice(&chunk),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Empty | Self::Expected(_) => 0,
            Self::One(chunk) => chunk.len(),
            Self::Many(body) => body.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty | Self::Expected(_) => Bytes::new(),
            Self::One(chunk) => chunk,
            Self::Many(body) => body.freeze(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

// === impl Verified ===

/// A delivery that verified, with the bytes that did.
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
    event_type: Option<Box<str>>,
    timestamp: Option<UnixTime>,
    key_id: Arc<str>,
    discriminator: Discriminator,
}

impl Verified {
    /// The verified bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The event's id, if the scheme signs one and it could be read: 1 to 256
    /// visible ASCII characters.
    pub fn id(&self) -> Option<&str> {
        self.discriminator.id()
    }

    /// The event's type, likewise.
    pub fn event_type(&self) -> Option<&str> {
        self.event_type.as_deref()
    }

    /// When the delivery was signed, if the scheme says so.
    pub fn timestamp(&self) -> Option<UnixTime> {
        self.timestamp
    }

    /// Which key matched.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What tells this event from others.
    pub fn identity(&self) -> Identity {
        self.discriminator.identity()
    }

    /// The key under which `scope` remembers this event.
    pub fn replay_key(&self, scope: &ReplayScope) -> ReplayKey {
        scope.key(&self.discriminator)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("id", &self.id())
            .field("event_type", &self.event_type)
            .field("timestamp", &self.timestamp)
            .field("key_id", &self.key_id)
            .field("identity", &self.identity())
            .field("body_len", &self.body.len())
            .finish()
    }
}
