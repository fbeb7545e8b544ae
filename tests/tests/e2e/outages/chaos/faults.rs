//! The faults of a chaos test, and their order.

use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use hookgate_tests::NetworkFault;

use super::stores::Stores;

const DAY: i64 = 86_400;

/// A fault, which ends before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// A fault of the network between the senders and the gateway.
    Senders(NetworkFault),
    /// A fault of the network between the gateway and the upstream.
    Upstream(NetworkFault),
    /// `kill -9` of the gateway, and its next start.
    Crash,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// The gateway cannot open another file or connection.
    Descriptors,
    /// The system clock is set ahead by these seconds, and then right.
    Clock(i64),
    /// The system clock is ahead when the gateway starts after a crash. It is right later.
    ClockAtStart(i64),
    /// Another program fills the disk of the store.
    FullDisk,
    RedisCrash,
    RedisPause,
    NatsCrash,
    NatsPause,
}

const NETWORK: [NetworkFault; 6] = [
    NetworkFault::LostResponses(0.5),
    NetworkFault::Delay(Duration::from_millis(300)),
    NetworkFault::Reset,
    NetworkFault::HalfClose,
    NetworkFault::Cut,
    NetworkFault::Blackhole,
];

/// The steps of the clock are longer than a window, and longer than a retention.
const PROCESS: [Fault; 7] = [
    Fault::Crash,
    Fault::Pause,
    Fault::Descriptors,
    Fault::Clock(8 * DAY),
    Fault::Clock(700),
    Fault::Clock(-3600),
    Fault::ClockAtStart(8 * DAY),
];

/// Returns the faults of a test. Each round has every fault once, in random order.
pub(super) fn schedule(stores: &Stores, rounds: usize, rng: &mut Rng) -> Vec<Fault> {
    let of_stores: &[Fault] = match stores {
        Stores::Memory | Stores::Forgetful => &[],
        Stores::Disk(_) => &[Fault::FullDisk],
        Stores::Redis(_) => &[Fault::RedisCrash, Fault::RedisPause],
        Stores::Nats { .. } => &[
            Fault::RedisCrash,
            Fault::RedisPause,
            Fault::NatsCrash,
            Fault::NatsPause,
        ],
    };
    let mut schedule = Vec::new();
    for _ in 0..rounds {
        let networks = [Fault::Senders, Fault::Upstream];
        let of_networks = networks.iter().flat_map(|fault| NETWORK.map(fault));
        let mut round: Vec<_> = of_networks.chain(PROCESS).collect();
        round.extend_from_slice(of_stores);
        rng.shuffle(&mut round);
        schedule.extend(round);
    }
    schedule
}

/// Takes the free descriptors from a process. Returns its limit from before.
pub(super) fn take_descriptors(process: u32) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{process}/fd"));
    let open = files.expect("the process runs").count();
    let limit = prlimit(process, &["--nofile", "--output=SOFT", "--noheadings"]);
    set_descriptor_limit(process, open as u64);
    limit.trim().parse().expect("the limit is a number")
}

pub(super) fn set_descriptor_limit(process: u32, limit: u64) {
    prlimit(process, &[&format!("--nofile={limit}:")]);
}

fn prlimit(process: u32, options: &[&str]) -> String {
    let mut command = Command::new("prlimit");
    let output = command.args(["--pid", &process.to_string()]).args(options);
    let output = output
        .output()
        .expect("prlimit is installed: apt install util-linux");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text")
}
