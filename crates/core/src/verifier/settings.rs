//! The values that a scheme needs from the operator: the URL of the endpoint and parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::Uri;

use super::after_url::AfterUrl;
use super::body_view::BodyView;
use super::build_error::BuildError;
use super::endpoint::EndpointUrl;
use crate::scheme::lookup::LookupError;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, QueryRule, Scheme, UrlEnd};

/// The values that the operator has set for a scheme.
#[derive(Clone, Debug, Default)]
pub(crate) struct SchemeSettings {
    pub(crate) endpoint: Option<EndpointUrl>,
    pub(crate) params: BTreeMap<Box<str>, Box<str>>,
}

impl SchemeSettings {
    /// Checks that the operator has set everything that `scheme` needs, and nothing else.
    ///
    /// # Errors
    ///
    /// Returns a [`BuildError`] about the URL or about a parameter.
    pub(crate) fn new(
        scheme: &Scheme,
        url: Option<&str>,
        params: BTreeMap<Box<str>, Box<str>>,
    ) -> Result<Self, BuildError> {
        let endpoint = match url {
            Some(url) => Some(EndpointUrl::parse(url).ok_or(BuildError::UrlMalformed)?),
            None if scheme.needs_url() => return Err(BuildError::UrlMissing),
            None => None,
        };
        let needs_path =
            |plan: &Plan| plan.message.url_constraints.fixed_path && plan.url.toggle_port;
        if endpoint
            .as_ref()
            .is_some_and(|endpoint| !endpoint.has_path())
            && scheme.plans().iter().any(needs_path)
        {
            return Err(BuildError::UrlWithoutPath);
        }
        if let Some(name) = scheme.params().find(|name| !params.contains_key(*name)) {
            return Err(BuildError::ParamMissing { name: name.into() });
        }
        let known = |name: &str| scheme.params().any(|known| known == name);
        if let Some(name) = params.keys().find(|name| !known(name)) {
            return Err(BuildError::ParamUnknown { name: name.clone() });
        }
        if let Some((name, _)) = params.iter().find(|(_, value)| value.is_empty()) {
            return Err(BuildError::ParamMissing { name: name.clone() });
        }
        Ok(Self { endpoint, params })
    }

    /// Returns the rule for the text after the URL in a delivery of `plan` with this query, or
    /// `None` if the delivery may not have the query.
    #[inline]
    pub(crate) fn after_url(&self, plan: &Plan, query: Option<&str>) -> Option<AfterUrl> {
        match &self.endpoint {
            None => Some(AfterUrl::Any),
            Some(endpoint) => AfterUrl::new(plan, endpoint.query.as_deref(), query),
        }
    }

    /// Whether the text after the URL, a part of `body`, obeys `rule`.
    pub(super) fn allows_after_url(
        &self,
        plan: &Plan,
        rule: AfterUrl,
        body: &BodyView<'_>,
    ) -> Result<bool, LookupError> {
        let QueryRule::EndsAt(end) = &plan.message.url_constraints.query else {
            return Ok(true);
        };
        let endpoint = self.endpoint.as_ref();
        let configured = endpoint.and_then(|endpoint| endpoint.query.as_deref());
        let text = match end {
            UrlEnd::Json => Cow::Borrowed(body.body),
            UrlEnd::Form(_) => body.value(&Variable::FormSorted)?,
        };
        Ok(rule.allows(end, configured, &text))
    }

    /// Returns the request target of the endpoint.
    pub(crate) fn target(&self) -> Uri {
        let target = self.endpoint.as_ref().and_then(EndpointUrl::target);
        target.map_or_else(|| Uri::from_static("/"), Uri::from)
    }
}
