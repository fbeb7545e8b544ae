//! Reading: the signature of a request that a policy selects.

use http::{HeaderMap, HeaderName};
use sfv::BareItem;

use super::address::Address;
use super::component::Component;
use super::covered_components::CoveredComponents;
use super::dictionary::{self, DictionaryError, Member, Parameters, Value};
use super::digest::{CONTENT_DIGEST, Digests};
use super::signed_request::SignedRequest;
use super::{MessageSignature, Policy};
use crate::error::VerifyError;
use crate::head::Head;
use crate::time::UnixTime;

pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

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
