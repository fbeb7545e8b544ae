//! The components that one signature covers, and its signature base (RFC 9421 §2.5).

use super::component::Component;
use super::dictionary::{self, Item, Parameters};
use super::signed_request::SignedRequest;
use crate::error::VerifyError;

/// A member of `Signature-Input`: the covered components and the parameters of a signature.
pub(super) struct CoveredComponents {
    identifiers: Vec<Item>,
    /// The component of each identifier, without duplicates.
    components: Vec<Component>,
    parameters: Parameters,
}

impl CoveredComponents {
    /// Reads the components that `identifiers` denote.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::SignatureMalformed`] if a component is unknown or repeated.
    pub(super) fn new(identifiers: Vec<Item>, parameters: Parameters) -> Result<Self, VerifyError> {
        let mut components = Vec::with_capacity(identifiers.len());
        for identifier in &identifiers {
            match Component::of(identifier) {
                Some(component) if !components.contains(&component) => components.push(component),
                _ => return Err(VerifyError::SignatureMalformed),
            }
        }
        Ok(Self {
            identifiers,
            components,
            parameters,
        })
    }

    pub(super) fn components(&self) -> &[Component] {
        &self.components
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns the signature base (RFC 9421 §2.5).
    ///
    /// A component occurs at most once, so the size is proportional to the head of the request.
    ///
    /// # Errors
    ///
    /// Returns a `Field…` error if the request lacks a covered component.
    pub(super) fn base(&self, request: &SignedRequest<'_>) -> Result<String, VerifyError> {
        let mut base = String::new();
        for (identifier, component) in self.identifiers.iter().zip(&self.components) {
            identifier.write(&mut base);
            base.push_str(": ");
            base.push_str(&request.value(component)?);
            base.push('\n');
        }
        base.push_str("\"@signature-params\": ");
        self.write(&mut base);
        Ok(base)
    }

    /// Writes the value of `@signature-params` (RFC 9421 §2.3).
    pub(super) fn write(&self, to: &mut String) {
        dictionary::write_list(&self.identifiers, &self.parameters, to);
    }
}
