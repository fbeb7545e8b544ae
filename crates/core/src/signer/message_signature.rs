//! Signing a prepared request with an HTTP message signature (RFC 9421).

#[cfg(feature = "rfc9421")]
use http::HeaderValue;

use super::SignError;
use super::draft::Draft;
#[cfg(feature = "rfc9421")]
use crate::head::Head;
use crate::message_signature::Policy;
#[cfg(feature = "rfc9421")]
use crate::message_signature::{self, Component, Digests, Metadata};
use crate::time::UnixTime;

impl Draft<'_> {
    /// Signs components of the request with an HTTP message signature (RFC 9421).
    #[cfg(feature = "rfc9421")]
    pub(super) fn sign_components(
        &mut self,
        policy: &Policy,
        at: UnixTime,
    ) -> Result<(), SignError> {
        let headers = &mut self.parts.headers;
        headers.insert("content-digest", Digests::of(&self.body).header());
        for component in &policy.components {
            if let Component::Field(name) = component
                && !headers.contains_key(name)
            {
                let invented = HeaderValue::from_str(self.invented).ok();
                headers.insert(name, invented.ok_or(SignError::FieldMalformed)?);
            }
        }
        let metadata = Metadata {
            created: Some(at),
            nonce: Some(self.invented),
            algorithm: Some(policy.algorithm),
            tag: policy.tag.as_deref(),
            ..Metadata::default()
        };
        let label = policy.label.as_deref().unwrap_or("sig1");
        let endpoint = self.signer.settings.endpoint.as_ref();
        let draft = message_signature::Draft::new(
            label,
            &policy.components,
            metadata,
            Head::from(&self.parts),
            endpoint.and_then(|endpoint| endpoint.origin.as_ref()),
        )?;
        let signature = self.signature(draft.base())?;
        draft.finish(&signature, &mut self.parts.headers);
        Ok(())
    }

    /// Refuses every request. A signer of the scheme cannot be built.
    #[cfg(not(feature = "rfc9421"))]
    pub(super) fn sign_components(&mut self, _: &Policy, _: UnixTime) -> Result<(), SignError> {
        Err(SignError::FieldMalformed)
    }
}
