//! Fetching keys: cache, budget and pins, certificates, and the client.

#![expect(clippy::unwrap_used, reason = "tests")]

mod certificates;
#[cfg(feature = "client")]
mod client;
mod fetcher;
mod support;
