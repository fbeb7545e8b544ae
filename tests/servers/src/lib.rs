//! Real server processes for tests: Redis and NATS. Each one listens on a free port and ends with
//! its test.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

pub mod nats;
pub mod process;
pub mod redis;
