//! The binary; everything is in the library, so that tests can run it with a
//! clock of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookgate::main(hookgate::SystemClock)
}
