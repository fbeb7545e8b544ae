//! `GET /api/config`: the configuration in effect, without secrets.

use http::Response;
use serde_json::json;

use super::ApiRequest;
use super::response::{self, Body};

impl ApiRequest<'_> {
    /// Returns the text of the configuration.
    pub(super) fn configuration(&self) -> Response<Body> {
        let running = self.admin.gateway.running();
        response::json(&json!({ "toml": running.shown.toml }))
    }
}
