//! Finds the source that a user names, and its tenant.

use std::sync::Arc;

use super::ApiRequest;
use super::problem::Problem;
use crate::config::is_tenant_name;
use crate::pipeline::route::Route;

impl ApiRequest<'_> {
    /// Returns the route of `source`.
    pub(super) fn route(&self, source: &str) -> Option<Arc<Route>> {
        let running = self.admin.gateway.running();
        running.routes.of_source(source).cloned()
    }

    /// Returns the route of `source`, or of its `tenant`. The route of a tenant has no keys.
    ///
    /// # Errors
    ///
    /// Returns 404 if there is no such source, or if it has no tenants. Returns 400 if the source
    /// has tenants and none is named.
    pub(super) fn route_of(
        &self,
        source: &str,
        tenant: Option<&str>,
    ) -> Result<Arc<Route>, Problem> {
        let route = self.route(source);
        let route = route
            .ok_or_else(|| Problem::not_found(format!("no source has the name {source:?}")))?;
        match (&route.shared.tenants, tenant) {
            (None, None) => Ok(route),
            (None, Some(_)) => Err(Problem::not_found("the source has no tenants")),
            (Some(_), None) => Err(Problem::bad_request(
                "the source has tenants; expected `tenant` too",
            )),
            (Some(_), Some(tenant)) if is_tenant_name(tenant) => {
                Ok(Arc::new(route.for_tenant_without_keys(tenant)))
            }
            (Some(_), Some(_)) => Err(Problem::not_found("no tenant can have this name")),
        }
    }
}
