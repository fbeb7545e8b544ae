//! The gateway as it ships, but for its clock: with `HOOKGATE_TEST_CLOCK=FILE`
//! the time of day is the number of seconds in that file. The binary that ships
//! has no such switch.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use hookgate::{Clock, SystemClock};
use hookgate_core::UnixTime;

#[derive(Debug)]
struct FileClock(PathBuf);

impl Clock for FileClock {
    fn now(&self) -> UnixTime {
        let text = fs::read_to_string(&self.0).expect("the test wrote the time");
        UnixTime::from_secs(text.trim().parse().expect("the time is a number"))
    }
}

fn main() -> ExitCode {
    match std::env::var_os("HOOKGATE_TEST_CLOCK") {
        Some(file) => hookgate::main(FileClock(file.into())),
        None => hookgate::main(SystemClock),
    }
}
