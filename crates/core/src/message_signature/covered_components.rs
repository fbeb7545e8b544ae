use super::component::Component;
use super::dictionary::{self, Item, Parameters};
use super::signed_request::SignedRequest;
use crate::error::VerifyError;

/// What a signature covers, and its parameters: a member of `Signature-Input`.
pub(super) struct CoveredComponents {
    identifiers: Vec<Item>,
    /// What each of the identifiers means; none twice.
    components: Vec<Component>,
    parameters: Parameters,
}

impl CoveredComponents {
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

    /// The signature base (RFC 9421 §2.5). It is in proportion to the head: no
    /// component is there twice.
    pub(super) fn base(&self, target: &SignedRequest<'_>) -> Result<String, VerifyError> {
        let mut base = String::new();
        for (identifier, component) in self.identifiers.iter().zip(&self.components) {
            identifier.write(&mut base);
            base.push_str(": ");
            base.push_str(&target.value(component)?);
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
