use http::Uri;

use super::context::{Context, Port};
use super::evaluate::{BodyView, HeadView, render};
use super::message::HeadSegments;
use super::text::Text;
use crate::error::VerifyError;
use crate::head::Head;
use crate::scheme::Plan;
use crate::scheme::template::{self, Segment, Variable};

/// What a delivery has before it is signed.
#[derive(Clone, Copy)]
pub(crate) struct SigningInput<'d> {
    pub(crate) plan: &'d Plan,
    pub(crate) context: &'d Context,
    pub(crate) head: Head<'d>,
    /// The list of the signature header, without signatures.
    pub(crate) list: Option<&'d [u8]>,
    /// The body, or the element of it that is signed.
    pub(crate) body: &'d [u8],
}

impl SigningInput<'_> {
    /// The message to sign, by the code that verifies it.
    pub(crate) fn message(self) -> Result<Vec<u8>, VerifyError> {
        let mut message = Vec::new();
        let runs = HeadSegments::of(&self.plan.message, &self.head_view())?;
        runs.whole(&self.plan.message, &self.body_view(), |bytes| {
            message.extend_from_slice(bytes);
        })?;
        Ok(message)
    }

    /// The text of a template of the head or of the body.
    pub(crate) fn text(self, template: &[Segment]) -> Result<Vec<u8>, VerifyError> {
        let mut text = Text::default();
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

    /// Whether `place` has a value.
    pub(crate) fn has(self, variable: &Variable) -> bool {
        self.head_view().value(variable).is_ok() || self.body_view().value(variable).is_ok()
    }

    fn head_view(&self) -> HeadView<'_> {
        HeadView {
            head: self.head,
            context: self.context,
            list: self.list,
            claims: None,
            signature: None,
            port: Port::AsConfigured,
            timestamp: None,
            id: None,
            plan: Some(self.plan),
        }
    }

    fn body_view(&self) -> BodyView<'_> {
        BodyView::new(self.body, &self.plan.json, self.context, Some(self.plan))
    }
}

impl Context {
    /// Where a request for the configured address goes.
    pub(crate) fn target(&self) -> Uri {
        let target = self.address.as_ref().and_then(super::Address::target);
        target.map_or_else(|| Uri::from_static("/"), Uri::from)
    }
}
