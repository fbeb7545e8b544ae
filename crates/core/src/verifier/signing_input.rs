//! The message that a signer signs, rendered by the code that verifies it.

use super::after_url::AfterUrl;
use super::body_view::BodyView;
use super::head_fields::{id_location, read_id};
use super::head_segments::HeadSegments;
use super::head_view::HeadView;
use super::jwt::Claims;
use super::render::{Rendered, render};
use super::settings::SchemeSettings;
use crate::error::VerifyError;
use crate::head::Head;
use crate::multipart::Boundary;
use crate::scheme::Plan;
use crate::scheme::location::Location;
use crate::scheme::template::{self, Segment, Variable};

/// The parts of a delivery that is not signed yet.
#[derive(Clone, Copy)]
pub(crate) struct SigningInput<'d> {
    pub(crate) plan: &'d Plan,
    pub(crate) settings: &'d SchemeSettings,
    pub(crate) head: Head<'d>,
    /// The list in the signature header, without its signatures.
    pub(crate) list: Option<&'d [u8]>,
    /// The header of a JSON Web Signature whose payload is the message.
    pub(crate) claims: Option<&'d Claims>,
    /// The body, or one element of a batch.
    pub(crate) body: &'d [u8],
}

impl SigningInput<'_> {
    /// Returns the message to sign.
    ///
    /// # Errors
    ///
    /// Returns an error if the delivery lacks a value that the message needs.
    pub(crate) fn message(self) -> Result<Vec<u8>, VerifyError> {
        let mut message = Vec::new();
        let segments = HeadSegments::new(&self.plan.message, &self.head_view())?;
        segments.whole_message(&self.plan.message, &self.body_view(), |bytes| {
            message.extend_from_slice(bytes);
        })?;
        Ok(message)
    }

    /// Whether the verifier would accept the event id, if a header has it.
    pub(crate) fn has_valid_id(self) -> bool {
        let is_header = matches!(id_location(self.plan), Some(Location::Header(_)));
        !is_header || read_id(self.plan, &self.head_view()).is_ok()
    }

    /// Renders a template with values of the head or of the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the delivery lacks a value that the template needs.
    pub(crate) fn text(self, template: &[Segment]) -> Result<Vec<u8>, VerifyError> {
        let mut text = Rendered::new();
        let in_body = template::placeholders(template).any(|value| value.variable.is_in_body());
        if in_body {
            let view = self.body_view();
            render(template, &|variable| view.value(variable), &mut text)?;
        } else {
            let view = self.head_view();
            render(template, &|variable| view.value(variable), &mut text)?;
        }
        Ok(text.into_vec())
    }

    /// Whether the text after the URL obeys `rule`. A text that does not exist does not.
    pub(crate) fn allows_after_url(self, rule: AfterUrl) -> bool {
        let allowed = self
            .settings
            .allows_after_url(self.plan, rule, &self.body_view());
        allowed.unwrap_or(false)
    }

    /// Whether the placeholder `variable` has a value.
    pub(crate) fn has(self, variable: &Variable) -> bool {
        self.head_view().value(variable).is_ok() || self.body_view().value(variable).is_ok()
    }

    fn head_view(&self) -> HeadView<'_> {
        HeadView {
            list: self.list,
            claims: self.claims,
            plan: Some(self.plan),
            ..HeadView::new(self.head, self.settings)
        }
    }

    fn body_view(&self) -> BodyView<'_> {
        let boundary = match self.plan.multipart {
            true => Boundary::of(self.head.headers).ok(),
            false => None,
        };
        BodyView::new(self.body, &self.plan.json, self.settings, Some(self.plan))
            .with_boundary(boundary)
    }
}
