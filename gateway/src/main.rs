//! The binary `hookgate`. It only calls the library, so that tests can run the gateway with their
//! own clock.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// mimalloc, because each delivery makes many small allocations, on all cores at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookgate::main(hookgate::SystemClock)
}
