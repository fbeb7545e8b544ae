//! Hostile HTTP/2 frames: those of a sender, and those of an upstream.
//!
//! A sender gets a stream error, a connection error or a response of 4xx, as RFC 9113 asks. The upstream
//! receives genuine deliveries only, and other streams of the connection go on after a stream error.

mod answers;
mod control_cases;
mod delivery;
mod field_cases;
mod frame_cases;
mod peer;
mod upstream;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hookgate_tests::{Gateway, Protocol, TestProvider, Upstream, send_over};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::delivery::Delivery;
use self::peer::{Start, Verdict, attack};
use super::checker::check;
use super::origins::{Kind, Origin};
use super::trial::{Middle, Trial, run_all, start_gateway};

/// The stream of the hostile frames.
const HOSTILE: u32 = 3;
/// The number of hostile connections at once.
const CONNECTIONS: usize = 8;
/// The longest time of a good delivery after hostile frames.
const RECOVERY: Duration = Duration::from_secs(2);
/// The number of hostile upstreams at once.
const LANES: usize = 4;

/// The class of requests that only the signature refuses.
const SIGNATURES: &str = "signature";

/// Returns the frames of a case. The argument is a genuine delivery, which a case may change.
type Frames = Box<dyn Fn(&Delivery) -> Vec<u8> + Send + Sync>;

/// Frames of a sender.
struct Case {
    class: &'static str,
    name: String,
    expected: Verdict,
    start: Start,
    frames: Frames,
}

/// The cases of a class.
struct Cases {
    class: &'static str,
    all: Vec<Case>,
}

impl Cases {
    fn class(&mut self, class: &'static str) {
        self.class = class;
    }

    /// Adds frames on the stream [`HOSTILE`].
    fn frames(
        &mut self,
        name: &str,
        expected: Verdict,
        frames: impl Fn(&Delivery) -> Vec<u8> + Send + Sync + 'static,
    ) {
        self.add(name, expected, Start::Delivery, Box::new(frames));
    }

    /// Adds a whole request on the stream [`HOSTILE`].
    fn request(
        &mut self,
        name: &str,
        expected: Verdict,
        change: impl Fn(Delivery) -> Delivery + Send + Sync + 'static,
    ) {
        self.frames(name, expected, move |d| change(d.clone()).request(HOSTILE));
    }

    /// Adds the first bytes of a connection.
    fn start(&mut self, name: &str, expected: Verdict, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.add(
            name,
            expected,
            Start::Nothing,
            Box::new(move |_| bytes.clone()),
        );
    }

    fn add(&mut self, name: &str, expected: Verdict, start: Start, frames: Frames) {
        self.all.push(Case {
            class: self.class,
            name: name.to_owned(),
            expected,
            start,
            frames,
        });
    }
}

/// Returns every case.
fn cases() -> Vec<Case> {
    let mut cases = Cases {
        class: "",
        all: Vec::new(),
    };
    frame_cases::add(&mut cases);
    control_cases::add(&mut cases);
    field_cases::add(&mut cases);
    cases.all
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_frames_get_an_error_and_other_streams_go_on() {
    let origin = Origin::start(Kind::Hyper).await;
    let gateway = Gateway::builder(origin.address)
        .server("h2c = true")
        .start();
    let address = gateway.address();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut running = JoinSet::new();
    for (index, case) in cases().into_iter().enumerate() {
        let permits = Arc::clone(&permits);
        running.spawn(async move {
            let _permit = permits.acquire().await.expect("it is never closed");
            run(address, index, &case).await
        });
    }
    let count = running.len();
    let results = running.join_all().await;
    let forwarded: usize = results.iter().map(|(forwarded, _)| forwarded).sum();
    let mistakes: Vec<_> = results
        .into_iter()
        .flat_map(|(_, mistakes)| mistakes)
        .collect();
    println!(
        "{count} sequences of hostile frames, {} flagged",
        mistakes.len()
    );
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    let verdict = check(&origin.received());
    assert_eq!(verdict.flagged, [""; 0]);
    assert_eq!(verdict.genuine, forwarded);
}

/// The control: a server that verifies nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_verification_accepts_forged_frames() {
    let upstream = Upstream::start().await;
    let cases = cases().into_iter().enumerate();
    for (index, case) in cases.filter(|(_, case)| case.class == SIGNATURES) {
        let (_, mistakes) = run(upstream.address(), index, &case).await;
        assert!(!mistakes.is_empty(), "{}: {}", case.class, case.name);
    }
}

/// Runs a case. Returns the number of deliveries that reached the upstream, and the mistakes.
async fn run(address: SocketAddr, index: usize, case: &Case) -> (usize, Vec<String>) {
    let title = format!("{}: {}", case.class, case.name);
    let beside = Delivery::genuine(&format!("evt_{index}_beside"));
    let hostile = (case.frames)(&Delivery::genuine(&format!("evt_{index}_hostile")));
    let seen = attack(address, case.start, hostile, &beside, case.expected).await;
    let (verdict, is_delivered) = (seen.verdict(), seen.is_genuine_delivered());
    let mut mistakes = Vec::new();
    if !case.expected.allows(verdict) {
        mistakes.push(format!("{title}: expected {:?}: {seen:?}", case.expected));
    } else if verdict != Verdict::Connection && !is_delivered {
        mistakes.push(format!(
            "{title}: the delivery beside it was lost: {seen:?}"
        ));
    }
    let good = TestProvider::named("beatapi").delivery(&format!("evt_{index}_after"));
    let good = timeout(RECOVERY, send_over(&Protocol::Http2, address, good)).await;
    let good = good.ok().and_then(Result::ok);
    let status = good.map(|response| response.status.as_u16());
    if status != Some(204) {
        mistakes.push(format!("{title}: a good delivery afterwards: {status:?}"));
    }
    let hostile = usize::from(verdict == Verdict::Forwarded);
    let forwarded = hostile + usize::from(is_delivered) + usize::from(status == Some(204));
    (forwarded, mistakes)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_frames_of_an_upstream_reach_no_other_sender() {
    let upstreams: Vec<_> = (0..LANES)
        .map(|_| {
            let (address, arrivals) = upstream::start();
            (address, arrivals, "protocol = \"h2c\"")
        })
        .collect();
    let (_gateway, lanes) = start_gateway(&upstreams);
    let trials = answers::trials();
    let count = trials.len();
    let mistakes = run_all(trials, lanes, Middle::Gateway, |trial| trial.index % LANES).await;
    println!(
        "{count} hostile answers over HTTP/2, {} flagged",
        mistakes.len()
    );
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

#[test]
fn there_are_100_different_sequences_of_frames() {
    let cases = cases();
    let names: HashSet<_> = cases.iter().map(|case| (case.class, &case.name)).collect();
    assert_eq!(names.len(), cases.len(), "a name occurs twice");
    let answers = answers::trials();
    let titles: HashSet<_> = answers.iter().map(Trial::title).collect();
    assert_eq!(titles.len(), answers.len(), "a name occurs twice");
    assert!(answers.len() >= 25 && names.len() + answers.len() >= 100);
}
