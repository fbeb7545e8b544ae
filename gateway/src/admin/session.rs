//! `GET /api/session` returns the name and the permission of the user.

use http::Response;
use serde::Serialize;

use super::ApiRequest;
use super::response::{self, Body};
use crate::telemetry::access_log::Timestamp;

#[derive(Serialize)]
struct Session<'s> {
    name: &'s str,
    may: &'static str,
    version: &'static str,
    /// Whether the gateway has a queue.
    queue: bool,
    /// The time of the oldest record, or the present if there is none.
    since: Timestamp,
}

impl ApiRequest<'_> {
    /// Names the token of the user and its permission.
    pub(super) fn session(&self) -> Response<Body> {
        response::json(&Session {
            name: &self.user.name,
            may: self.user.may.name(),
            version: env!("CARGO_PKG_VERSION"),
            queue: self.admin.gateway.queue().is_some(),
            since: Timestamp(self.since(self.inspector.stats().since)),
        })
    }
}
