//! HTTP message signatures (RFC 9421) over requests, and the digest of the body (RFC 9530).
//!
//! This module has no keys. To verify, [`Policy::read`] returns the signature base and the signature
//! over it. To sign, [`Draft`] returns the signature base and then writes the headers.
//!
//! A signature can cover header fields and `@method`, `@target-uri`, `@authority`, `@scheme`,
//! `@request-target`, `@path`, `@query` and `@query-param`. The module is stricter than the RFC,
//! because a smaller grammar leaves fewer ways to misread a request:
//!
//! * A component has no parameters, except `name` on `@query-param`. So a signature covers a field as
//!   a whole: not one member (`key`), not reserialized (`sf`), not wrapped (`bs`). `req` is for
//!   responses only, and a trailer (`tr`) arrives after the body.
//! * A repeated parameter is refused. Structured fields take its last value.
//! * `alg` may confirm the algorithm of the scheme but never chooses one (§7.3.6).
//!
//! The signature covers unknown parameters of a signature too, and they have no effect.

mod address;
mod component;
mod covered_components;
mod dictionary;
mod digest;
mod draft;
mod query;
mod signed_request;
#[cfg(test)]
mod tests;

use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::BareItem;

pub(crate) use self::address::Address;
pub(crate) use self::component::Component;
use self::covered_components::CoveredComponents;
pub(crate) use self::dictionary::trim_ows;
use self::dictionary::{DictionaryError, Member, Parameters, Value};
pub(crate) use self::digest::Digests;
pub(crate) use self::draft::{Draft, DraftError, Metadata};
use self::signed_request::SignedRequest;
use crate::error::VerifyError;
use crate::head::Head;
use crate::time::UnixTime;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The demands of a scheme on a signature (RFC 9421 §3.2.1).
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The label of the signature. Without a label, the request must have only one signature.
    pub(crate) label: Option<String>,
    /// The components that the signature must cover. It may cover more.
    pub(crate) components: Vec<Component>,
    /// The value that the parameter `tag` must have, if any.
    pub(crate) tag: Option<String>,
    /// The name of the algorithm in the registry of RFC 9421 §6.2.
    pub(crate) algorithm: &'static str,
}

/// A signature that satisfies a policy. The caller must verify it over `base`.
#[derive(Clone)]
pub(crate) struct MessageSignature {
    /// The signature base (§2.5): the signed bytes.
    pub(crate) base: Vec<u8>,
    /// The decoded signature. Its length is not checked.
    pub(crate) signature: Vec<u8>,
    pub(crate) created: Option<UnixTime>,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) nonce: Option<String>,
    pub(crate) keyid: Option<String>,
    /// The digests that the body must match. `None` if the signature does not cover them.
    pub(crate) digests: Option<Digests>,
}

impl Policy {
    /// Reads the signature in `head` that the policy selects, and checks the demands of the policy.
    ///
    /// `address` is the configured scheme and authority of the endpoint.
    ///
    /// # Errors
    ///
    /// Returns a `Signature…` error if no single signature is selected or it is malformed. Returns
    /// a `Field…` error if a component is missing or malformed.
    pub(crate) fn read(
        &self,
        head: Head<'_>,
        address: Option<&Address>,
    ) -> Result<MessageSignature, VerifyError> {
        let inputs = read_members(head.headers, &SIGNATURE_INPUT)?;
        let signatures = read_members(head.headers, &SIGNATURE)?;
        let input = self.select_input(&inputs)?;
        let signature = find_member(&signatures, input.key.as_str())?;
        // §4: both fields have the same labels. A label in only one of them shows that the request
        // was changed in transit.
        let paired = |input: &Member| signatures.iter().any(|other| other.key == input.key);
        if inputs.len() != signatures.len() || !inputs.iter().all(paired) {
            return Err(VerifyError::SignatureMalformed);
        }
        let Value::Item(BareItem::ByteSequence(signature)) = &signature.value else {
            return Err(VerifyError::SignatureMalformed);
        };
        let Value::List(items) = &input.value else {
            return Err(VerifyError::SignatureMalformed);
        };
        let covered = CoveredComponents::new(items.clone(), input.parameters.clone())?;

        let parameters = covered.parameters();
        let created = time(parameters, "created")?;
        let expires = time(parameters, "expires")?;
        let nonce = text(parameters, "nonce")?;
        let keyid = text(parameters, "keyid")?;
        let algorithm = text(parameters, "alg")?;
        let tag = text(parameters, "tag")?;
        if algorithm.is_some_and(|algorithm| algorithm != self.algorithm)
            || (self.tag.is_some() && self.tag.as_deref() != tag)
        {
            return Err(VerifyError::SignatureVersionUnknown);
        }
        let covers = |component: &Component| covered.components().contains(component);
        if !self.components.iter().all(covers) {
            return Err(VerifyError::FieldMissing);
        }
        let digests = covers(&Component::Field(CONTENT_DIGEST))
            .then(|| Digests::read(head.headers))
            .transpose()?;
        Ok(MessageSignature {
            base: covered
                .base(&SignedRequest::new(head, address))?
                .into_bytes(),
            signature: signature.clone(),
            created,
            expires,
            nonce: nonce.map(str::to_owned),
            keyid: keyid.map(str::to_owned),
            digests,
        })
    }

    /// Selects the member of `Signature-Input` that the policy denotes.
    fn select_input<'m>(&self, inputs: &'m [Member]) -> Result<&'m Member, VerifyError> {
        match (&self.label, inputs) {
            (Some(label), _) => find_member(inputs, label),
            (None, [input]) => Ok(input),
            (None, []) => Err(VerifyError::SignatureMissing),
            // Picking one would let the sender choose which signature counts.
            (None, _) => Err(VerifyError::SignatureRepeated),
        }
    }
}

/// Shows only the length of the signature: a forger could replay a genuine signature from a log, and
/// the other values come from the sender.
impl fmt::Debug for MessageSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageSignature({} bytes)", self.signature.len())
    }
}

fn read_members(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<Member>, VerifyError> {
    let members = dictionary::read(headers, name).map_err(|error| match error {
        DictionaryError::Malformed => VerifyError::SignatureMalformed,
        DictionaryError::Repeated => VerifyError::SignatureRepeated,
        DictionaryError::TooMany => VerifyError::SignatureTooMany,
    })?;
    members.ok_or(VerifyError::SignatureMissing)
}

fn find_member<'m>(members: &'m [Member], label: &str) -> Result<&'m Member, VerifyError> {
    members
        .iter()
        .find(|member| member.key.as_str() == label)
        .ok_or(VerifyError::SignatureMissing)
}

fn time(parameters: &Parameters, name: &str) -> Result<Option<UnixTime>, VerifyError> {
    match parameters.get(name) {
        None => Ok(None),
        Some(BareItem::Integer(seconds)) => Ok(Some(UnixTime::from_secs((*seconds).into()))),
        Some(_) => Err(VerifyError::SignatureMalformed),
    }
}

fn text<'p>(parameters: &'p Parameters, name: &str) -> Result<Option<&'p str>, VerifyError> {
    match parameters.get(name) {
        None => Ok(None),
        Some(BareItem::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(VerifyError::SignatureMalformed),
    }
}
