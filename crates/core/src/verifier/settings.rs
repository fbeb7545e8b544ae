//! The values that a scheme needs from the operator: the URL of the endpoint and parameters.

use std::collections::BTreeMap;

use http::Uri;

use super::build_error::BuildError;
use super::endpoint::EndpointUrl;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, Scheme};

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

    /// Whether a delivery of `plan` may have this query.
    pub(crate) fn allows_query(&self, plan: &Plan, query: Option<&str>) -> bool {
        let Some(endpoint) = &self.endpoint else {
            return true;
        };
        if plan.message.url_constraints.fixed_query {
            return query == endpoint.query.as_deref();
        }
        !plan.message.has(&Variable::Url) || endpoint.allows_query(query)
    }

    /// Returns the request target of the endpoint.
    pub(crate) fn target(&self) -> Uri {
        let target = self.endpoint.as_ref().and_then(EndpointUrl::target);
        target.map_or_else(|| Uri::from_static("/"), Uri::from)
    }
}
