//! [`World`]: a gateway between two fault proxies, with its clock and its stores.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hookgate_tests::{ChaosProxy, Gateway, NetworkFault, TestProvider, Upstream, fill, free};
use hookgate_tests::{now, try_send};
use http::StatusCode;
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::clock::SystemClock;
use super::faults::{Fault, set_descriptor_limit, take_descriptors};
use super::stores::Stores;
use crate::outages::history::{Answer, Sent, digest};
use crate::outages::outage::wait_until;
use crate::outages::senders::{CANARY, GENUINE, Senders};

/// How long a fault lasts.
const HOLD: Duration = Duration::from_millis(500);
/// How long a store cannot answer. It is longer than the timeout of Redis.
const STORE_HOLD: Duration = Duration::from_millis(1500);
/// The longest time until a fault shows its effect.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time after a fault until the gateway accepts an event.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest time between two faults.
const FAULT_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A gateway under faults, and its surroundings.
pub(super) struct World {
    pub(super) stores: Stores,
    pub(super) to_upstream: ChaosProxy,
    to_gateway: ChaosProxy,
    clock: SystemClock,
    gateway: Option<Gateway>,
    senders: Senders,
    probes: usize,
    pub(super) crashes: usize,
    pub(super) nats_faults: usize,
    /// The longest time from the end of each fault to the next accepted event.
    pub(super) recoveries: BTreeMap<String, Duration>,
    pub(super) faults: usize,
}

impl World {
    pub(super) async fn start(
        stores: Stores,
        upstream: &Upstream,
        senders: &Senders,
        rng: &mut Rng,
    ) -> Self {
        let texts = [GENUINE, CANARY];
        let to_upstream = ChaosProxy::start(upstream.address(), rng.u64(..), &texts).await;
        // The first start sets the address of the gateway.
        let to_gateway = ChaosProxy::start(upstream.address(), rng.u64(..), &[]).await;
        let mut world = Self {
            stores,
            to_upstream,
            to_gateway,
            clock: SystemClock::new(),
            gateway: None,
            senders: senders.clone(),
            probes: 0,
            crashes: 0,
            nats_faults: 0,
            recoveries: BTreeMap::new(),
            faults: 0,
        };
        world.start_gateway();
        senders.set_gateways([world.to_gateway.address()]);
        world
    }

    pub(super) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("the gateway runs")
    }

    /// Applies a fault each time that the number of accepted events reaches one of `moments`.
    pub(super) async fn apply_all(&mut self, faults: Vec<Fault>, moments: Vec<usize>) {
        for (fault, moment) in faults.into_iter().zip(moments) {
            wait_until(FAULT_TIMEOUT, || self.senders.accepted() >= moment).await;
            self.apply(fault).await;
            self.recover(fault).await;
        }
    }

    async fn apply(&mut self, fault: Fault) {
        match fault {
            Fault::Senders(fault) => strike(&self.to_gateway, fault).await,
            Fault::Upstream(fault) => strike(&self.to_upstream, fault).await,
            Fault::Crash => self.crash(),
            Fault::Pause => {
                self.gateway().signal("STOP");
                sleep(HOLD).await;
                self.gateway().signal("CONT");
            }
            Fault::Descriptors => {
                let limit = take_descriptors(self.gateway().id());
                sleep(HOLD).await;
                set_descriptor_limit(self.gateway().id(), limit);
            }
            Fault::Clock(seconds) => {
                self.clock.set_ahead(seconds);
                self.wait_for_wrong_clock().await;
            }
            Fault::ClockAtStart(seconds) => {
                self.clock.set_ahead(seconds);
                self.crash();
                self.wait_for_wrong_clock().await;
            }
            Fault::FullDisk => self.fill_disk().await,
            Fault::RedisCrash | Fault::RedisPause | Fault::NatsCrash | Fault::NatsPause => {
                self.stop_server(fault).await;
            }
        }
    }

    /// Waits until the gateway refuses a delivery because of its clock, and ends the fault.
    async fn wait_for_wrong_clock(&mut self) {
        let refused = self.probe_until(StatusCode::UNAUTHORIZED).await;
        // The control: the gateway reads the clock that the test sets.
        assert!(refused, "no delivery is refused:\n{}", self.gateway().log());
        sleep(HOLD).await;
        self.clock.set_ahead(0);
    }

    async fn fill_disk(&mut self) {
        let Stores::Disk(disk) = &self.stores else {
            panic!("the store is not on a disk");
        };
        let disk = disk.clone();
        fill(&disk);
        let refused = self.probe_until(StatusCode::SERVICE_UNAVAILABLE).await;
        // The control: the disk is full.
        assert!(refused, "no claim is refused:\n{}", self.gateway().log());
        free(&disk);
    }

    async fn stop_server(&mut self, fault: Fault) {
        let stores = &mut self.stores;
        match fault {
            Fault::RedisPause => stores.redis_server().signal("STOP"),
            Fault::RedisCrash => stores.redis_server().kill(),
            Fault::NatsPause => stores.nats_server().signal("STOP"),
            _ => stores.nats_server().kill(),
        }
        sleep(STORE_HOLD).await;
        match fault {
            Fault::RedisPause => stores.redis_server().signal("CONT"),
            Fault::RedisCrash => block_in_place(|| stores.redis_server().restart()),
            Fault::NatsPause => stores.nats_server().signal("CONT"),
            _ => block_in_place(|| stores.nats_server().restart()),
        }
        if matches!(fault, Fault::NatsCrash | Fault::NatsPause) {
            self.nats_faults += 1;
        }
    }

    /// Kills the gateway as `kill -9` does, and starts it again.
    fn crash(&mut self) {
        self.kill_gateway();
        self.crashes += 1;
        self.start_gateway();
    }

    fn kill_gateway(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            let process = gateway.id();
            drop(gateway);
            self.clock.clean_up_after(process);
        }
    }

    fn start_gateway(&mut self) {
        let builder = self.stores.gateway(self.to_upstream.address());
        let builder = self.clock.apply_to(builder);
        let gateway = block_in_place(|| builder.start());
        self.to_gateway.set_server(gateway.address());
        self.gateway = Some(gateway);
    }

    /// Waits until the gateway accepts an event.
    async fn recover(&mut self, fault: Fault) {
        let start = Instant::now();
        while !self.probe().await.is_some_and(|status| status.is_success()) {
            assert!(
                start.elapsed() < RECOVERY_TIMEOUT,
                "the gateway does not recover from {fault:?}:\n{}",
                self.gateway().log()
            );
            sleep(POLL_INTERVAL).await;
        }
        let longest = self.recoveries.entry(format!("{fault:?}")).or_default();
        *longest = start.elapsed().max(*longest);
        self.faults += 1;
    }

    /// Sends new events until one gets `status`. Returns whether one did in time.
    async fn probe_until(&mut self, status: StatusCode) -> bool {
        let start = Instant::now();
        while self.probe().await != Some(status) {
            if start.elapsed() > EFFECT_TIMEOUT {
                return false;
            }
        }
        true
    }

    /// Sends a new event to the gateway itself, past its proxy.
    async fn probe(&mut self) -> Option<StatusCode> {
        let provider = TestProvider::named("beatapi");
        let id = format!("evt_probe_{}", self.probes);
        self.probes += 1;
        let body = provider.body(&id);
        let request = provider.request(provider.sign(&body, now(), &id), body.clone());
        let response = try_send(self.gateway().address(), request).await.ok();
        let status = response.map(|response| response.status);
        let sent = Sent {
            source: provider.name,
            position: self.probes,
            digest: digest(&body),
            answer: match status {
                Some(status) if status.is_success() => Answer::Accepted,
                Some(_) => Answer::Unavailable,
                None => Answer::Missing,
            },
            answered: Instant::now(),
        };
        self.senders
            .with_history(|history| history.sent.insert(id, sent));
        status
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(gateway) = &self.gateway
        {
            println!("log of the gateway:\n{}", gateway.log());
        }
        self.kill_gateway();
    }
}

/// Lets a network have a fault for some time.
async fn strike(proxy: &ChaosProxy, fault: NetworkFault) {
    proxy.set_fault(Some(fault));
    sleep(HOLD).await;
    proxy.set_fault(None);
}
