//! Test support for the suites in `tests/`: a gateway process, a recording upstream, an HTTP
//! client, a certificate authority, signed deliveries, and the known-answer vectors.
//!
//! Code that two or more suites need belongs here. Code for one suite stays in that suite.

mod certificates;
mod chaos_proxy;
mod client;
mod delivery;
mod gateway;
pub mod http2_frames;
mod own_disk;
mod program;
mod raw_http;
mod starting_gateway;
mod tokens;
mod upstream;
mod vectors;

pub use self::certificates::Certificates;
pub use self::chaos_proxy::{ChaosProxy, NetworkFault};
pub use self::client::{
    Connection, Protocol, ReceivedResponse, get_admin, get_admin_with, send, send_bytes, send_over,
    send_raw, try_send,
};
pub use self::delivery::{SECRETS, TestProvider, now};
pub use self::gateway::{Gateway, GatewayBuilder, sum_of_series};
pub use self::own_disk::{fill, free, on_own_disk};
pub use self::program::Program;
pub use self::raw_http::{exchange, is_complete_response, raw_delivery, raw_request};
pub use self::starting_gateway::binary;
pub use self::tokens::replace_tokens;
pub use self::upstream::{
    Behaviour, DeadUpstream, HeldResponse, ReceivedRequest, Upstream, count_by_event,
};
pub use self::vectors::{Vector, catalogue_vectors, seed_vectors};

/// The test of the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
