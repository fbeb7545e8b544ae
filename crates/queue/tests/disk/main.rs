//! The queue in a file: restarts, clocks, space, damage, faults of the disk, several processes.

#![cfg(feature = "disk")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests"
)]

mod clocks;
mod conformance;
mod damage;
mod faults;
mod files;
mod full_disk;
mod processes;
mod space;
mod support;
