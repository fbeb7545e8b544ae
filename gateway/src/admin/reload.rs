//! `POST /reload`: reads the configuration file again, and reports the result.
//!
//! The request needs no token. It only makes the gateway read its own file at once, which the
//! gateway does by itself when the file has changed.

use hookgate_core::Problem as Mistake;
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::json;

use super::Admin;
use super::access::{Visit, check_origin};
use super::problem::Problem;
use super::query::pairs;
use super::response::{self, Body};

impl Admin {
    /// Reloads the configuration. The parameter `file` is the canonical path of the file that the
    /// client expects the gateway to read.
    ///
    /// # Errors
    ///
    /// Returns 403 if another website makes the request, 409 if the gateway runs another file, and
    /// 503 if the process ends.
    pub(super) async fn reload(&self, request: &Parts) -> Result<Response<Body>, Problem> {
        let hosts = self.gateway.inspector().map(|inspector| inspector.access());
        let hosts = hosts.as_ref().map_or(&[][..], |access| &access.hosts);
        check_origin(request, hosts, Visit::Data)?;
        let mut expected = None;
        for (name, value) in pairs(request.uri.query())? {
            match name.as_str() {
                "file" => expected = Some(value),
                _ => {
                    return Err(Problem::bad_request(format!(
                        "unknown parameter {name:?}; expected file"
                    )));
                }
            }
        }
        self.check_file(expected.as_deref())?;
        let Some(report) = self.reloads.reload().await else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the gateway is stopping",
            ));
        };
        let texts =
            |problems: &[Mistake]| problems.iter().map(Mistake::to_string).collect::<Vec<_>>();
        let mut response = match &report {
            Ok(warnings) => response::json(&json!({ "warnings": texts(warnings) })),
            Err(mistakes) => response::json(&json!({ "mistakes": texts(mistakes) })),
        };
        if report.is_err() {
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        }
        Ok(response)
    }

    fn check_file(&self, expected: Option<&str>) -> Result<(), Problem> {
        let conflict = |detail: String| Problem::new(StatusCode::CONFLICT, detail);
        let Some(file) = self.gateway.config_file() else {
            return Err(conflict(
                "the gateway reads its configuration from standard input, which cannot be read \
                 again; restart it"
                    .to_owned(),
            ));
        };
        let file = file.canonicalize().unwrap_or(file);
        match expected {
            Some(expected) if file.to_string_lossy() != expected => Err(conflict(format!(
                "this gateway runs {}, not {expected}; name its own file, or the admin address of \
                 another gateway",
                file.display()
            ))),
            _ => Ok(()),
        }
    }
}
