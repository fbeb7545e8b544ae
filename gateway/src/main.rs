//! The binary; everything is in the library, so that tests can run it with a
//! clock of their own.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A delivery is many small allocations, on as many threads as there are cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookgate::main(hookgate::SystemClock)
}
