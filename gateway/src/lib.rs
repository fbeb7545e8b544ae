//! The hookgate gateway: webhook verification and replay protection in front of
//! any upstream, in any language.
//!
//! This crate is a program. Its library exists so that tests can run the program. Applications use
//! the crate `tower-hookgate` instead.

#![forbid(unsafe_code)]

mod admin;
mod cli;
mod client_address;
mod config;
mod counted;
mod explain;
mod form;
mod gateway;
mod inspector;
mod limits;
mod listener;
mod pem;
mod pipeline;
mod poll;
mod queue;
mod run;
mod stream;
mod telemetry;
mod tenants;
mod upstream;

use std::process::ExitCode;

pub use hookgate_gate::{Clock, SystemClock};

pub use self::config::Config;

/// Runs the command line of this process. `clock` provides the wall-clock time.
pub fn main(clock: impl Clock) -> ExitCode {
    cli::main(std::sync::Arc::new(clock))
}
