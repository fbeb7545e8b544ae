//! `POST /reload`: reads the configuration file again, and reports the result.
//!
//! The request needs no token. It only makes the gateway read its own file at once, which the
//! gateway does by itself when the file has changed. With a table `[inspector]`, only a token that
//! may act gets the mistakes, the warnings and the path of the file. Requests without such a token
//! are limited, because each one reads every file and resolves every name.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hookgate_core::Problem as Mistake;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;

use super::Admin;
use super::access::{Visit, check_origin};
use super::problem::Problem;
use super::query::pairs;
use super::response::{self, Body};
use super::server::Peer;
use crate::inspector::rate_budget::RateBudget;

/// How many reloads without a token may follow each other at once.
const BURST: f64 = 10.0;
/// The rate of reloads without a token after that.
const PER_SECOND: f64 = 1.0;

/// The detail of a reload without the right token.
const NO_DETAILS: &str = "the log of the gateway has the details; the response has them for a token \
                          of [inspector] with `may = \"act\"`";

/// The fields that a proxy adds for the client. `hookgate reload` sends none of them.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Limits the reloads without a token. The clients of this machine have a budget of their own, so a
/// client on the network cannot keep `hookgate reload` out.
#[derive(Debug)]
pub(super) struct ReloadLimit {
    local: Mutex<RateBudget>,
    remote: Mutex<RateBudget>,
}

impl Default for ReloadLimit {
    fn default() -> Self {
        let budget = || Mutex::new(RateBudget::new(BURST, PER_SECOND, Instant::now()));
        Self {
            local: budget(),
            remote: budget(),
        }
    }
}

impl ReloadLimit {
    /// Returns whether one more reload is allowed for a client. The client of a Unix socket has no
    /// address. The client behind a proxy of this machine counts as one of the network.
    fn spend(&self, client: Option<IpAddr>, headers: &HeaderMap, now: Instant) -> bool {
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let is_local =
            !is_forwarded && client.is_none_or(|address| address.to_canonical().is_loopback());
        let budget = match is_local {
            true => &self.local,
            false => &self.remote,
        };
        budget.lock().spend(now)
    }
}

/// Whether the response to a reload has its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Details {
    Shown,
    Hidden,
}

impl Admin {
    /// Reloads the configuration. The parameter `file` is the canonical path of the file that the
    /// client expects the gateway to read.
    ///
    /// # Errors
    ///
    /// Returns 401 for a wrong token, and 403 for a token that may only read and for the request of
    /// another website. Returns 409 if the gateway runs another file, 429 after too many requests
    /// without a token, and 503 if the process ends.
    pub(super) async fn reload(
        &self,
        request: &Parts,
        peer: &Peer<'_>,
    ) -> Result<Response<Body>, Problem> {
        let details = self.authorize_reload(request, peer)?;
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
        self.check_file(expected.as_deref(), details)?;
        let Some(report) = self.reloads.reload().await else {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the gateway is stopping",
            ));
        };
        let texts =
            |problems: &[Mistake]| problems.iter().map(Mistake::to_string).collect::<Vec<_>>();
        let mut response = match (&report, details) {
            (Ok(warnings), Details::Shown) => {
                response::json(&json!({ "warnings": texts(warnings) }))
            }
            (Err(mistakes), Details::Shown) => {
                response::json(&json!({ "mistakes": texts(mistakes) }))
            }
            (_, Details::Hidden) => response::json(&json!({ "detail": NO_DETAILS })),
        };
        if report.is_err() {
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        }
        Ok(response)
    }

    /// Checks the origin, the token and the rate of a reload.
    fn authorize_reload(&self, request: &Parts, peer: &Peer<'_>) -> Result<Details, Problem> {
        let access = self.gateway.inspector().map(|inspector| inspector.access());
        let hosts = access.as_ref().map_or(&[][..], |access| &access.hosts);
        check_origin(request, hosts, Visit::Data)?;
        let details = match &access {
            Some(access) if request.headers.contains_key(AUTHORIZATION) => {
                let gatekeeper = &self.gatekeeper;
                gatekeeper
                    .authenticate(access, &request.headers, peer.address)?
                    .check_may_act()?;
                return Ok(Details::Shown);
            }
            Some(_) => Details::Hidden,
            None => Details::Shown,
        };
        let now = Instant::now();
        match self.reload_limit.spend(peer.address, &request.headers, now) {
            true => Ok(details),
            false => Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many reloads; wait a second",
            )
            .retry_after(Duration::from_secs(1))),
        }
    }

    fn check_file(&self, expected: Option<&str>, details: Details) -> Result<(), Problem> {
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
            Some(expected) if file.to_string_lossy() == expected => Ok(()),
            Some(_) if details == Details::Hidden => Err(conflict(format!(
                "this gateway runs another file; {NO_DETAILS}"
            ))),
            Some(expected) => Err(conflict(format!(
                "this gateway runs {}, not {expected}; name its own file, or the admin address of \
                 another gateway",
                file.display()
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// Returns how many of 100 reloads at once are allowed.
    fn allowed(
        limit: &ReloadLimit,
        client: Option<&str>,
        headers: &HeaderMap,
        now: Instant,
    ) -> usize {
        let client = client.map(|address| address.parse().unwrap());
        let allowed = (0..100).filter(|_| limit.spend(client, headers, now));
        allowed.count()
    }

    #[test]
    fn clients_behind_a_proxy_of_this_machine_leave_the_reloads_of_this_machine() {
        for name in FORWARDED {
            let (limit, now) = (ReloadLimit::default(), Instant::now());
            let name = HeaderName::from_static(name);
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("192.0.2.1"))]);
            assert!(allowed(&limit, Some("127.0.0.1"), &headers, now) >= 10);
            assert_eq!(allowed(&limit, None, &headers, now), 0);
            assert!(allowed(&limit, Some("127.0.0.1"), &HeaderMap::new(), now) >= 10);
        }
    }

    #[test]
    fn a_flood_from_the_network_leaves_the_reloads_of_this_machine() {
        let (limit, now) = (ReloadLimit::default(), Instant::now());
        let spend = |client| allowed(&limit, client, &HeaderMap::new(), now);
        assert!(spend(Some("192.0.2.1")) >= 10);
        // The control: other clients of the network have the same budget.
        assert_eq!(spend(Some("2001:db8::1")), 0);
        assert!(spend(Some("::ffff:127.0.0.1")) >= 10);
        for client in [Some("127.0.0.1"), Some("::1"), None] {
            assert_eq!(spend(client), 0, "{client:?}");
        }
    }
}
