//! `Verifier → Pending → Verified`: head first, then the body chunk by chunk.
//! There is no other way to a [`Verified`], and it holds the very bytes that
//! were verified.

mod body;
mod body_hash;
mod builder;
mod checked_head;
mod context;
mod evaluate;
mod jwt;
mod message;
mod pending;
mod signing_input;
mod text;
mod verified;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response};
use subtle::ConstantTimeEq;

use self::body::Body;
pub use self::body::Chunk;
pub use self::body_hash::BodyHash;
pub use self::builder::{BuildError, Key, VerifierBuilder};
pub(crate) use self::builder::{context, find_variant};
use self::context::Port;
pub(crate) use self::context::{Address, Context};
use self::evaluate::{Found, HeadView, answer, holds};
use self::pending::LateHandshake;
pub use self::pending::Pending;
pub(crate) use self::signing_input::SigningInput;
pub use self::verified::Verified;
use crate::error::VerifyError;
use crate::head::Head;
use crate::mac;
use crate::scheme::handshake::{Condition, Handshake};
use crate::scheme::template::Variable;
use crate::scheme::{Plan, Scheme, TimestampField, Variant};
use crate::time::{UnixTime, Window};

/// Verifies the deliveries of one source.
#[derive(Clone)]
pub struct Verifier {
    scheme: Scheme,
    /// The operator's window, instead of the scheme's.
    window: Option<Window>,
    context: Arc<Context>,
    /// Index of the only variant that the operator lets count.
    pinned: Option<usize>,
    keys: Vec<PreparedKey>,
}

#[derive(Clone)]
struct PreparedKey {
    id: Arc<str>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
    weak: bool,
    /// By the index of the plan; none where the secret is not meant for it.
    keys: Box<[Option<mac::Key>]>,
}

/// What begins with a head.
pub enum HeadOutcome<'v> {
    /// A delivery: its body is wanted.
    Delivery(Pending<'v>),
    /// A request by which the provider finds out whose the endpoint is, and the
    /// answer to it. Nothing is forwarded.
    Handshake(Box<Response<Bytes>>),
}

/// What a request turned out to be.
pub enum RequestOutcome {
    /// A delivery that verified.
    Delivery(Verified),
    /// A request by which the provider finds out whose the endpoint is, and the
    /// answer to it. Nothing is forwarded.
    Handshake(Box<Response<Bytes>>),
}

impl RequestOutcome {
    /// The delivery, if it is one.
    pub fn delivery(self) -> Option<Verified> {
        match self {
            Self::Delivery(verified) => Some(verified),
            Self::Handshake(_) => None,
        }
    }
}

impl Verifier {
    /// Starts a verifier of `scheme`.
    pub fn builder(scheme: &Scheme) -> VerifierBuilder {
        VerifierBuilder::new(scheme)
    }

    /// The scheme that is verified.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The variants of the scheme that count.
    pub fn variants(&self) -> impl Iterator<Item = Variant<'_>> {
        let variants = self.scheme.variants().enumerate();
        variants
            .filter(|(index, _)| self.scheme.is_enabled(*index, self.pinned))
            .map(|(_, variant)| variant)
    }

    /// The window in which timestamps pass; where variants that count differ, the widest.
    pub fn window(&self) -> Window {
        let windows = self.variants().filter_map(Variant::window);
        let widest = windows.reduce(Window::widest);
        self.window.or(widest).unwrap_or_default()
    }

    /// Positions, from 0, of keys that decode to fewer than
    /// [`Secret::WEAK_LEN`](crate::Secret::WEAK_LEN) bytes and can be guessed.
    pub fn weak_keys(&self) -> impl Iterator<Item = usize> {
        self.keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.weak)
            .map(|(index, _)| index)
    }

    /// Positions, from 0, of keys that count at `time`.
    pub fn active_keys(&self, time: UnixTime) -> impl Iterator<Item = usize> {
        let keys = self.keys.iter().enumerate();
        keys.filter(move |(_, key)| key.is_active(time))
            .map(|(index, _)| index)
    }

    /// The ids of the keys, whether they count now or not.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    /// Checks the head of a request: every field that the scheme reads is there
    /// once and well-formed, and the timestamp is inside the window. No byte of
    /// the body is needed, so this is what to do before reading one.
    ///
    /// # Errors
    ///
    /// Why the delivery cannot verify, whatever its body.
    pub fn begin(&self, head: Head<'_>, now: UnixTime) -> Result<HeadOutcome<'_>, VerifyError> {
        let mut pending = self.begin_refused(VerifyError::SignatureMissing);
        Ok(match self.begin_at(&mut pending, head, now)? {
            None => HeadOutcome::Delivery(pending),
            Some(answer) => HeadOutcome::Handshake(answer.into()),
        })
    }

    /// Likewise, of a delivery that stays where it is: it is large. The answer, if it is
    /// a handshake.
    fn begin_at(
        &self,
        pending: &mut Pending<'_>,
        head: Head<'_>,
        now: UnixTime,
    ) -> Result<Option<Response<Bytes>>, VerifyError> {
        let handshakes = &self.scheme.compiled().handshakes;
        for (index, handshake) in handshakes.iter().enumerate() {
            if *head.method != handshake.method || !self.may_begin(handshake, head) {
                continue;
            }
            let view = self.bare_view(head);
            if handshake.waits_for_body {
                let of_head = handshake.head_locations.iter().filter_map(|location| {
                    let value = view.at(location).ok()?;
                    Some((location.clone(), value.into_owned()))
                });
                pending.handshakes.push(LateHandshake {
                    index,
                    of_head: of_head.collect(),
                });
                continue;
            }
            let answer = self.answer(handshake, &|variable| view.value(variable), now)?;
            return Ok(Some(answer));
        }
        pending.begun = self.begin_delivery(head, now);
        let mut late = pending.handshakes.iter();
        match pending.begun {
            Err(error) if late.all(|late| handshakes[late.index].verified) => Err(error),
            _ => Ok(None),
        }
    }

    /// A delivery that does not verify, whatever its body: for those who only
    /// observe, and want the body even so.
    pub(crate) fn begin_refused(&self, error: VerifyError) -> Pending<'_> {
        Pending {
            verifier: self,
            begun: Err(error),
            handshakes: Vec::new(),
            body: Body::Empty,
        }
    }

    /// Verifies a request that is there as a whole.
    ///
    /// # Errors
    ///
    /// Why the delivery does not verify.
    pub fn verify(
        &self,
        head: Head<'_>,
        body: Bytes,
        now: UnixTime,
    ) -> Result<RequestOutcome, VerifyError> {
        let mut pending = self.begin_refused(VerifyError::SignatureMissing);
        match self.begin_at(&mut pending, head, now)? {
            Some(answer) => Ok(RequestOutcome::Handshake(answer.into())),
            None => {
                pending.push(body);
                pending.finish(now)
            }
        }
    }

    /// Whether requests of `method` can be handshakes.
    pub fn answers(&self, method: &Method) -> bool {
        let handshakes = &self.scheme.compiled().handshakes;
        handshakes
            .iter()
            .any(|handshake| handshake.method == *method)
    }

    /// The plans that may decide, by their index.
    fn plans(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let plans = self.scheme.plans().iter().enumerate();
        plans.filter(|(index, _)| self.scheme.is_enabled(*index, self.pinned))
    }

    fn window_of(&self, field: &TimestampField) -> Window {
        self.window.unwrap_or(field.window)
    }

    /// What is known of a request that is not known to be a delivery.
    fn bare_view<'h>(&'h self, head: Head<'h>) -> HeadView<'h> {
        HeadView {
            head,
            context: &self.context,
            list: None,
            claims: None,
            signature: None,
            port: Port::AsConfigured,
            timestamp: None,
            id: None,
            plan: None,
        }
    }

    /// Whether everything that the head has to say of `handshake` is so.
    fn may_begin(&self, handshake: &Handshake, head: Head<'_>) -> bool {
        let view = self.bare_view(head);
        let in_head = |condition: &&Condition| !condition.location.is_in_body();
        handshake
            .when
            .iter()
            .filter(in_head)
            .all(|condition| holds(condition, |location| view.at(location)))
    }

    /// The answer to `handshake`.
    fn answer<'a>(
        &self,
        handshake: &Handshake,
        read: &dyn Fn(&Variable) -> Found<'a>,
        now: UnixTime,
    ) -> Result<Response<Bytes>, VerifyError> {
        const REFUSED: VerifyError = VerifyError::HandshakeRefused;
        for check in &handshake.check {
            let found = read(&Variable::At(check.location.clone())).map_err(|_| REFUSED)?;
            let wanted = answer(&check.template, None, None, read).ok_or(REFUSED)?;
            if !bool::from(found.ct_eq(&wanted)) {
                return Err(REFUSED);
            }
        }
        for guard in &handshake.guards {
            let found = read(&Variable::At(guard.location.clone())).map_err(|_| REFUSED)?;
            if !guard.text.contains([&*found]) {
                return Err(REFUSED);
            }
        }
        // What an answer is signed with, if it is: the newest key, as the one that
        // the provider has been told last.
        let key = self
            .keys
            .iter()
            .find(|key| key.is_active(now))
            .and_then(|key| key.keys.first()?.as_ref());
        let respond = &handshake.respond;
        let body = answer(&respond.body, respond.response_type, key, read).ok_or(REFUSED)?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = respond.status;
        let headers = response.headers_mut();
        if let Some(response_type) = respond.response_type {
            headers.insert(http::header::CONTENT_TYPE, response_type.media_type());
        }
        // The caller's text must not become a page.
        headers.insert(
            http::header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        );
        for (name, template) in &respond.headers {
            let value = answer(template, None, key, read).ok_or(REFUSED)?;
            let value = HeaderValue::from_bytes(&value).map_err(|_| REFUSED)?;
            headers.insert(name, value);
        }
        Ok(response)
    }
}

/// The answer to a handshake is not shown: it may be signed.
impl fmt::Debug for HeadOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivery(pending) => f.debug_tuple("Delivery").field(pending).finish(),
            Self::Handshake(answer) => f.debug_tuple("Handshake").field(&answer.status()).finish(),
        }
    }
}

/// Likewise.
impl fmt::Debug for RequestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivery(verified) => f.debug_tuple("Delivery").field(verified).finish(),
            Self::Handshake(answer) => f.debug_tuple("Handshake").field(&answer.status()).finish(),
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
