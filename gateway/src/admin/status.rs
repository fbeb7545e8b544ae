//! `GET /api/status`: how full the inspector and the replay store are, the rates of the last
//! minutes, and the state of sources, keys, upstreams and certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hookgate_replay::ReplayStore;
use http::Response;
use serde::Serialize;

use super::ApiRequest;
use super::response::{self, Body};
use crate::inspector::key_usage::KeyUse;
use crate::inspector::rates::Rate;
use crate::inspector::{CaptureStats, Stats};
use crate::pipeline::route::Route;
use crate::telemetry::access_log::Timestamp;

#[derive(Serialize)]
struct Status<'s> {
    version: &'static str,
    started: Timestamp,
    records: Records,
    captures: CaptureStats,
    store: Store,
    rates: Vec<Rate>,
    sources: Vec<Source<'s>>,
    upstreams: Vec<Upstream>,
    certificates: Vec<Certificate>,
}

#[derive(Serialize)]
struct Records {
    kept: usize,
    keep: usize,
    dropped: u64,
    /// The number of records that the history on disk lacks.
    history_dropped: u64,
    since: Timestamp,
}

#[derive(Serialize)]
struct Store {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_entries: Option<u64>,
}

#[derive(Serialize)]
struct Source<'s> {
    name: &'s str,
    path: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'s str>,
    upstream: &'s str,
    capture: &'static str,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Timestamp>,
    deliveries: u64,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    servers: Vec<Server>,
    in_flight: usize,
}

#[derive(Serialize)]
struct Server {
    address: String,
    healthy: bool,
}

#[derive(Serialize)]
struct Certificate {
    listen: SocketAddr,
    subject: String,
    not_after: Timestamp,
}

impl ApiRequest<'_> {
    /// Returns the state of the gateway.
    pub(super) fn status(&self) -> Response<Body> {
        let gateway = &self.admin.gateway;
        let running = gateway.running();
        let mut routes: Vec<_> = running.routes.iter().collect();
        routes.sort_by_key(|route| route.source.name());
        let Stats {
            records,
            keep,
            records_dropped,
            history_dropped,
            captures,
            since,
        } = self.inspector.stats();
        response::json(&Status {
            version: env!("CARGO_PKG_VERSION"),
            started: Timestamp(self.admin.started),
            records: Records {
                kept: records,
                keep,
                dropped: records_dropped,
                history_dropped,
                since: Timestamp(self.since(since)),
            },
            captures,
            store: Store {
                kind: gateway.startup().store().kind(),
                entries: gateway.gate().store().entries(),
                max_entries: gateway.startup().store().max_entries(),
            },
            rates: self.inspector.rates(self.now()),
            sources: routes.into_iter().map(|route| self.source(route)).collect(),
            upstreams: self.upstreams(),
            certificates: self.certificates(),
        })
    }

    fn source<'r>(&self, route: &'r Route) -> Source<'r> {
        let source = &route.source;
        let configured = source.verifier().key_ids();
        let mut keys: BTreeMap<String, KeyUse> = configured
            .map(|id| (id.to_owned(), KeyUse::default()))
            .collect();
        // A fetched key, or a key that a reload has removed, is not configured.
        keys.extend(self.inspector.key_usage(source.name()));
        let keys = keys.into_iter().map(|(id, used)| Key {
            id,
            last_used: used.last_used.map(Timestamp),
            deliveries: used.deliveries,
        });
        Source {
            name: source.name(),
            path: &route.shared.path,
            provider: source.provider(),
            upstream: route.shared.upstream.name(),
            capture: route.shared.capture.name(),
            keys: keys.collect(),
        }
    }

    fn upstreams(&self) -> Vec<Upstream> {
        let upstreams = self.admin.gateway.upstreams().into_iter();
        let server = |(address, healthy)| Server { address, healthy };
        upstreams
            .map(|upstream| Upstream {
                name: upstream.name().to_owned(),
                servers: upstream.backend_health().into_iter().map(server).collect(),
                in_flight: upstream.requests_in_flight(),
            })
            .collect()
    }

    fn certificates(&self) -> Vec<Certificate> {
        let listeners = self.admin.gateway.startup().tls_listeners().iter();
        listeners
            .filter_map(|listener| {
                let facts = listener.tls.certificate()?;
                Some(Certificate {
                    listen: listener.listen,
                    subject: facts.subject,
                    not_after: Timestamp(facts.not_after),
                })
            })
            .collect()
    }
}
