//! End-to-end suites: the gateway as a real process, and the layer in real axum and tonic servers.
//!
//! Each module is one topic; a new test goes into the module of its topic. Support code that two
//! or more modules need is in `tests/src`. A test that compares the gateway with the layer belongs
//! in `parity`.

mod access_log_file;
mod acknowledgements;
mod addresses;
mod admin;
mod alerts;
mod body_integrity;
mod cases;
mod cli;
mod concurrency;
mod configuration;
mod connection_limit;
mod crashes;
mod custom_schemes;
mod desync;
mod documents;
mod explain;
#[cfg(feature = "otel")]
mod exported_metrics;
mod failed_deliveries;
mod fetched_keys;
mod forwarding;
mod framing;
mod grpc;
mod http2;
mod inspector;
mod lifecycle;
mod limits;
mod named_tests;
mod nats_deployments;
mod observability;
mod observe_mode;
mod outages;
mod parity;
mod provider_sdks;
mod proxies;
mod proxy_protocol;
mod queue;
mod raw_body;
mod reload;
mod replicas;
mod routing;
mod schema;
mod service_manager;
mod store_faults;
mod tenants;
mod tls;
mod traces;
mod unix_sockets;
mod upstreams;
mod vectors;
