//! `Verifier → Pending → Verified`: head first, then the body chunk by chunk.
//! There is no other way to a [`Verified`], and it holds the very bytes that
//! were verified.

mod body;
mod builder;
mod pending;
mod signed;
mod verified;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::body::Body;
pub use self::builder::{BuildError, Key, VerifierBuilder};
use self::pending::Macs;
pub use self::pending::Pending;
use self::signed::{MoreHeaders, Raw, SignedParts, Timestamp};
pub use self::verified::Verified;
use crate::error::VerifyError;
use crate::head::Head;
use crate::mac;
use crate::scheme::field::{self, Absence};
use crate::scheme::{Location, Plan, Scheme, SignedHeader, TimestampField};
use crate::time::{UnixTime, Window};

/// Most keys of one verifier: each costs a MAC over every body.
pub const MAX_KEYS: usize = 8;

/// Most signatures that one delivery may offer.
pub const MAX_CANDIDATES: usize = 8;

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
        VerifierBuilder::new(scheme)
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
    /// [`Secret::WEAK_LEN`](crate::Secret::WEAK_LEN) bytes and can be guessed.
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
