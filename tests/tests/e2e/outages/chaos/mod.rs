//! Chaos: one fault after the other around a gateway, with senders that retry, replays and forgeries.
//! No accepted event is lost, and no event arrives twice without a reason.
//!
//! `make chaos` runs the same tests with 20 000 events each.

mod clock;
mod faults;
mod operator;
mod stores;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use hookgate_tests::{TestProvider, Upstream, on_own_disk};

use super::drain::wait_until_drained;
use super::history::{Limits, QueueKind, Summary};
use super::outage::random_moments;
use super::scale::{Scale, seeded};
use super::senders::{CANARY, GENUINE, Policy, RETRYING_SENDERS, Senders};
use super::sources::WORKERS;
use faults::Fault;
use operator::retry_rejected;
use stores::Stores;
use world::World;

/// Number of events for each round of faults.
const EVENTS_OF_A_ROUND: usize = 4_000;
/// Maximum number of attempts that the gateway forwards at once. Each sender waits for one, and may
/// have hung up on another one.
const IN_FLIGHT: usize = 2 * 4 * RETRYING_SENDERS;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_around_a_memory_store_lose_and_repeat_no_event() {
    survive(Stores::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_around_a_disk_store_lose_and_repeat_no_event() {
    let name = "outages::chaos::faults_around_a_disk_store_lose_and_repeat_no_event";
    if let Some(disk) = on_own_disk(name, "128M") {
        survive(Stores::Disk(disk)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_around_a_store_in_redis_lose_and_repeat_no_event() {
    survive(Stores::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_around_a_queue_in_nats_lose_no_event() {
    survive(Stores::nats()).await;
}

/// The control: without its fence, a gateway with a memory store forwards replays after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_forgets_its_events_is_found_out() {
    let run = run(Stores::Forgetful, 400, |_, _| vec![Fault::Crash; 4]).await;
    let faults = run.checked.expect_err("replays are forwarded");
    let is_replay = |fault: &String| fault.starts_with("a replay of");
    assert!(faults.iter().any(is_replay), "{faults:#?}");
}

async fn survive(stores: Stores) {
    let events = Scale::of_chaos();
    let rounds = (events / EVENTS_OF_A_ROUND).max(1);
    let schedule = |stores: &Stores, rng: &mut Rng| faults::schedule(stores, rounds, rng);
    let run = run(stores, events, schedule).await;
    let seed = run.seed;
    let summary = match &run.checked {
        Ok(summary) => *summary,
        Err(faults) => panic!("seed {seed}: {faults:#?}"),
    };
    assert!(
        !run.world.to_upstream.has_passed(CANARY),
        "forged bytes reached the upstream, seed {seed}"
    );
    // The control: the proxy finds bytes that the gateway forwards.
    assert!(run.world.to_upstream.has_passed(GENUINE));
    report(&run, summary);
    check_traffic(&run.world, &run.senders, summary, events);
}

/// A chaos test after its last event.
struct Run {
    seed: u64,
    world: World,
    senders: Senders,
    /// The number of dead letters that the operator retried.
    rejected: usize,
    checked: Result<Summary, Vec<String>>,
}

/// Sends events while the faults of `schedule` happen at random moments, and checks the history.
async fn run(
    stores: Stores,
    events: usize,
    schedule: impl FnOnce(&Stores, &mut Rng) -> Vec<Fault>,
) -> Run {
    let (mut rng, seed) = seeded();
    let upstream = Upstream::start().await;
    let senders = Senders::with_policy(Policy::Retry);
    let mut world = World::start(stores, &upstream, &senders, &mut rng).await;
    let schedule = schedule(&world.stores, &mut rng);
    let moments = random_moments(&mut rng, schedule.len(), 0..events);
    let faults = world.apply_all(schedule, moments);
    senders
        .send_during(faults, &TestProvider::all(), events, 0, &mut rng)
        .await;
    let rejected = match world.stores.queue() {
        QueueKind::None => {
            wait_until_drained(world.gateway(), &upstream, &senders).await;
            0
        }
        QueueKind::Nats | QueueKind::Disk => retry_rejected(&world, &upstream, &senders).await,
    };
    let limits = limits(&world);
    let checked = senders.with_history(|history| history.check(limits));
    Run {
        seed,
        world,
        senders,
        rejected,
        checked,
    }
}

/// Returns how often events may arrive again.
fn limits(world: &World) -> Limits {
    // A crash between sending and the commit repeats a delivery, and so does a response that the
    // network loses. A NATS server that was killed repeats the deliveries of the workers.
    let of_crashes = world.crashes * IN_FLIGHT;
    let of_nats = world.nats_faults * WORKERS;
    Limits {
        duplicates: world.to_upstream.broken() + of_crashes + of_nats,
        ordered: &[],
        queue: world.stores.queue(),
    }
}

/// Prints the figures, which `make proof` reads.
fn report(run: &Run, summary: Summary) {
    let (world, senders) = (&run.world, &run.senders);
    let figure = |name: &str, value: String| {
        println!("figure: chaos, {}, {name} = {value}", world.stores.name());
    };
    let retries = senders.retries();
    let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst).to_string();
    figure("accepted events", summary.accepted.to_string());
    figure("events that arrived again", summary.duplicates.to_string());
    figure("allowed by faults", limits(world).duplicates.to_string());
    figure("retried events", read(&retries.retried));
    figure("retries", read(&retries.retries));
    figure("events given up", read(&retries.given_up));
    figure("replays", read(&retries.replays));
    figure("replays recognised", read(&retries.recognised));
    figure("forged deliveries", senders.forged().to_string());
    figure(
        "rejected and retried by the operator",
        run.rejected.to_string(),
    );
    figure("faults", world.faults.to_string());
    for (fault, time) in &world.recoveries {
        figure(
            &format!("recovery after {fault}"),
            format!("{:.2} s", time.as_secs_f64()),
        );
    }
}

/// Checks that the senders did send as planned, and that the gateway accepts their retries.
fn check_traffic(world: &World, senders: &Senders, summary: Summary, events: usize) {
    let retries = senders.retries();
    let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    assert!(summary.accepted >= events);
    assert!(read(&retries.retried) > events / 5);
    assert!(senders.forged() > events / 50);
    assert!(read(&retries.recognised) > 0);
    // A memory store forgets its events in a crash, so its gateway refuses older deliveries.
    let forgets = matches!(world.stores, Stores::Memory);
    let given_up = read(&retries.given_up);
    assert!(
        forgets || given_up <= summary.accepted / 10,
        "{given_up} events are given up"
    );
}
