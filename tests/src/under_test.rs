//! The gateway under test: the `hookgate` binary with a clock that a test can set.
//!
//! With `HOOKGATE_TEST_CLOCK=FILE`, the wall clock is the number of seconds in that file. The
//! released binary has no such switch.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use hookgate::{Clock, SystemClock};
use hookgate_core::UnixTime;

/// A wall clock that reads the time from a file.
#[derive(Debug)]
struct FileClock(PathBuf);

impl Clock for FileClock {
    fn now(&self) -> UnixTime {
        let text = fs::read_to_string(&self.0).expect("the test wrote the clock file");
        UnixTime::from_secs(text.trim().parse().expect("the clock file holds a number"))
    }
}

fn main() -> ExitCode {
    match std::env::var_os("HOOKGATE_TEST_CLOCK") {
        Some(file) => hookgate::main(FileClock(file.into())),
        None => hookgate::main(SystemClock),
    }
}
