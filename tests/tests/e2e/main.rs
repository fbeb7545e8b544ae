//! End to end: the layer in a real axum server, and the real gateway process.

mod bodies;
mod cli;
mod concurrency;
mod configuration;
mod crashes;
mod documents;
mod faults;
mod forwarding;
mod framing;
mod grpc;
mod http2;
mod lifecycle;
mod limits;
mod observability;
mod observe;
mod parity;
mod proxied;
#[path = "../../../crates/replay/tests/redis/server.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod redis_server;
mod reload;
mod reload_load;
mod replicas;
mod schema;
mod schemes;
mod strangers;
mod tls;
mod traces;
mod upstreams;
mod vectors;
