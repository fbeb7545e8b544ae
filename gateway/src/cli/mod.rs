//! The command line.

use std::process::ExitCode;
use std::sync::Arc;

use hookgate_gate::Clock;

pub(crate) fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let _ = clock;
    ExitCode::SUCCESS
}
