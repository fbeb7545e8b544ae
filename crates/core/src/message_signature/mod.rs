//! HTTP message signatures (RFC 9421) over requests, with the digest of the
//! body (RFC 9530) that they cover.
//!
//! There is no key here: [`Policy::read`] gives the bytes that are signed and
//! the signature over them, [`Draft`] the bytes to sign and the headers.
//!
//! What is covered may be a header field or one of `@method`, `@target-uri`,
//! `@authority`, `@scheme`, `@request-target`, `@path`, `@query` and
//! `@query-param`. Stricter than the RFC, because a verifier that reads less has
//! less to be wrong about:
//!
//! * A component has no parameters, but `name` on `@query-param`. A field is
//!   covered whole, not by a member (`key`), reserialized (`sf`) or wrapped
//!   (`bs`); a request answers no other (`req`), and trailers (`tr`) come after
//!   the body.
//! * A parameter that occurs twice is refused; structured fields take the last.
//! * `alg` may confirm the scheme's algorithm and never chooses one (§7.3.6).
//!
//! Parameters of a signature that are unknown here are part of what is signed,
//! and mean nothing.

mod component;
mod covered_components;
mod dictionary;
mod digest;
mod draft;
mod signed_request;
#[cfg(test)]
mod tests;

use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::BareItem;

pub(crate) use self::component::Component;
use self::covered_components::CoveredComponents;
pub(crate) use self::dictionary::trim_ows;
use self::dictionary::{DictionaryError, Member, Parameters, Value};
pub(crate) use self::digest::Digests;
pub(crate) use self::draft::{Draft, Metadata};
pub(crate) use self::signed_request::Address;
use self::signed_request::SignedRequest;
use crate::error::VerifyError;
use crate::head::Head;
use crate::time::UnixTime;

const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// What a scheme demands of a signature (RFC 9421 §3.2.1).
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Which of several signatures; if none, there must be only one.
    pub(crate) label: Option<String>,
    /// What must be covered; more may be.
    pub(crate) components: Vec<Component>,
    /// What the signature must be for, if it matters.
    pub(crate) tag: Option<String>,
    /// By its name in the registry of RFC 9421 §6.2.
    pub(crate) algorithm: &'static str,
}

/// A signature that has all that the policy demands, to be verified over `base`.
#[derive(Clone)]
pub(crate) struct MessageSignature {
    /// The signature base (§2.5): what is signed.
    pub(crate) base: Vec<u8>,
    /// As it was decoded, of whatever length.
    pub(crate) signature: Vec<u8>,
    pub(crate) created: Option<UnixTime>,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) nonce: Option<String>,
    pub(crate) keyid: Option<String>,
    /// What the body must be; none if the signature does not cover that.
    pub(crate) digests: Option<Digests>,
}

impl Policy {
    /// The one signature in `head` that the policy is about. `address` is what
    /// the sender calls the endpoint, if that is known.
    pub(crate) fn read(
        &self,
        head: Head<'_>,
        address: Option<&Address>,
    ) -> Result<MessageSignature, VerifyError> {
        let inputs = read_members(head.headers, &SIGNATURE_INPUT)?;
        let signatures = read_members(head.headers, &SIGNATURE)?;
        let input = self.select_input(&inputs)?;
        let signature = find_member(&signatures, input.key.as_str())?;
        // §4: each field has the same labels. What is in one alone is a remnant
        // of something that was changed on the way.
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

    fn select_input<'m>(&self, inputs: &'m [Member]) -> Result<&'m Member, VerifyError> {
        match (&self.label, inputs) {
            (Some(label), _) => find_member(inputs, label),
            (None, [input]) => Ok(input),
            (None, []) => Err(VerifyError::SignatureMissing),
            // To pick one would be to let the sender pick.
            (None, _) => Err(VerifyError::SignatureRepeated),
        }
    }
}

/// The signature of a genuine delivery is what a forger wants to know, and the
/// rest is the sender's.
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
