//! Ports and signals for the server processes of tests.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};

/// Returns a free port. It is below the range of ephemeral ports and is returned only once, so
/// that it is still free when the server binds it.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time start far apart.
    let start = std::process::id().wrapping_mul(997) % u32::from(COUNT);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)) + start;
        let offset = next % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("the offset is less than the count");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a process a signal, such as STOP. A process that is to stop has stopped afterwards.
pub fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    let status = Command::new("kill").args(["-s", name, &id]).status();
    assert!(status.expect("`kill` is installed").success());
    while name == "STOP" && !is_stopped(process) {
        std::thread::yield_now();
    }
}

/// Returns whether every thread of the process is stopped. A thread that runs stops a moment after
/// the signal.
fn is_stopped(process: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.id()));
    let mut states = threads.expect("the process runs").map(|thread| {
        let thread = thread.expect("the folder is readable");
        std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default()
    });
    states.all(|state| state.contains(") T "))
}
