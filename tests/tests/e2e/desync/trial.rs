//! Deliveries to an upstream that gives a hostile answer: one sender delivers twice on one
//! connection, and another one delivers beside it. A good delivery follows on the connections that are
//! left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookgate_tests::{Gateway, TestProvider};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::sender::{GOOD, Received, Sender, Size};
use super::verdict::{judge, judge_arrivals};

/// The gateway's deadline for an upstream.
const UPSTREAM_TIMEOUT: &str = "2s";
/// The longest time of a good delivery after a hostile answer.
const RECOVERY: Duration = Duration::from_secs(2);

/// The deliveries to which an upstream gives one hostile answer.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) index: usize,
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) expected: Expected,
    pub(super) reuse: Reuse,
    pub(super) size: Size,
}

/// The sender's view of the answer.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// A response with this status and body. The body may contain `{id}`.
    Relayed(u16, Vec<u8>),
    /// A response of the gateway itself.
    GatewayError(u16),
    /// A connection that ends before a complete response.
    Cut,
}

/// Whether the connection to the upstream carries another request after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    Keep,
    Once,
    /// Either is right: an HTTP/2 connection has several streams.
    Any,
}

/// The arrival of a request at an upstream.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) id: String,
    pub(super) connection: usize,
}

/// The requests that have arrived at an upstream, in their order.
pub(super) type Arrivals = Arc<Mutex<Vec<Arrival>>>;

/// An upstream and its trials, which follow each other. Several lanes run at once.
pub(super) struct Lane {
    /// The address to which the senders deliver.
    pub(super) front: SocketAddr,
    pub(super) path: String,
    pub(super) arrivals: Arrivals,
}

/// The program between the senders and the upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Middle {
    Gateway,
    Pipe,
}

/// The mistakes of each trial, by its title.
pub(super) type Mistakes = BTreeMap<String, Vec<String>>;

impl Trial {
    /// Returns the ids of the events: two ids of the first sender, the id of another sender, and the id
    /// of a good delivery.
    pub(super) fn event_ids(&self) -> [String; 4] {
        ["a1", "a2", "b1", GOOD].map(|sender| format!("{:04}-{sender}-00", self.index))
    }

    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.class, self.name)
    }

    /// Runs the trial, and returns the mistakes in the responses.
    async fn run(&self, lane: &Lane, patience: Duration) -> Vec<String> {
        let ids = self.event_ids();
        let mut mistakes = Vec::new();
        let [mut first, mut second, mut third] =
            std::array::from_fn(|_| Sender::new(lane.front, &lane.path));
        let received = deliver(&mut first, &ids[0], self.size, patience).await;
        mistakes.extend(judge(&self.expected, &ids[0], &received));
        let again = deliver(&mut first, &ids[1], self.size, patience);
        let other = deliver(&mut second, &ids[2], self.size, patience);
        let (again, other) = match self.reuse {
            // An error of a shared connection ends both deliveries.
            Reuse::Any => (again.await, other.await),
            Reuse::Keep | Reuse::Once => tokio::join!(again, other),
        };
        mistakes.extend(judge(&self.expected, &ids[1], &again));
        mistakes.extend(judge(&self.expected, &ids[2], &other));

        let good = Expected::Relayed(200, b"{id}".to_vec());
        match timeout(RECOVERY, third.deliver(&ids[3], Size::Small)).await {
            Ok(received) => mistakes.extend(judge(&good, &ids[3], &received)),
            Err(_) => mistakes.push(format!("{}: no response within {RECOVERY:?}", ids[3])),
        }
        for sender in [first, second, third] {
            match timeout(patience, sender.finish()).await {
                Ok(rest) if rest.is_empty() => {}
                Ok(rest) => mistakes.push(format!("behind a response: {}", rest.escape_ascii())),
                Err(_) => mistakes.push("the connection does not end".to_owned()),
            }
        }
        mistakes
    }
}

/// Delivers the event `id` within `patience`.
async fn deliver(sender: &mut Sender, id: &str, size: Size, patience: Duration) -> Received {
    let delivery = timeout(patience, sender.deliver(id, size)).await;
    delivery.unwrap_or_else(|_| Received::Malformed("no response".to_owned()))
}

impl Middle {
    /// Returns the longest time of a delivery. A pipe has no deadline.
    fn patience(self) -> Duration {
        match self {
            Self::Gateway => Duration::from_secs(30),
            Self::Pipe => Duration::from_secs(1),
        }
    }
}

/// Starts a gateway with a lane to each upstream. The table of an upstream has these lines too.
pub(super) fn start_gateway(upstreams: &[(SocketAddr, Arrivals, &str)]) -> (Gateway, Vec<Lane>) {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let secret = TestProvider::named("beatapi").secret;
    let mut builder = Gateway::builder(nowhere).env("LANE", secret);
    for (lane, (address, _, lines)) in upstreams.iter().enumerate() {
        builder = builder.table(&format!(
            "[upstreams.lane_{lane}]\nservers = [\"{address}\"]\n\
             timeout = \"{UPSTREAM_TIMEOUT}\"\n{lines}\n\
             [[sources]]\nname = \"lane_{lane}\"\npath = \"/lane_{lane}\"\nprovider = \"beatapi\"\n\
             secrets = [\"env:LANE\"]\nupstream = \"lane_{lane}\"\nbody = \"64MiB\"\n"
        ));
    }
    let gateway = builder.start();
    let lanes = upstreams.iter().enumerate();
    let lanes = lanes.map(|(lane, (_, arrivals, _))| Lane {
        front: gateway.address(),
        path: format!("/lane_{lane}"),
        arrivals: Arc::clone(arrivals),
    });
    let lanes = lanes.collect();
    (gateway, lanes)
}

/// Runs the trials, each on the lane that `lane_of` names.
pub(super) async fn run_all(
    trials: Vec<Trial>,
    lanes: Vec<Lane>,
    middle: Middle,
    lane_of: fn(&Trial) -> usize,
) -> Mistakes {
    let mut running = JoinSet::new();
    for (number, lane) in lanes.into_iter().enumerate() {
        let own = trials.iter().filter(|trial| lane_of(trial) == number);
        let own: Vec<_> = own.cloned().collect();
        running.spawn(async move {
            let mut mistakes = Mistakes::new();
            for trial in own {
                let mut found = trial.run(&lane, middle.patience()).await;
                if middle == Middle::Gateway {
                    let arrivals = lane.arrivals.lock().expect("no panic");
                    found.extend(judge_arrivals(&trial, &arrivals));
                }
                if !found.is_empty() {
                    mistakes.insert(trial.title(), found);
                }
            }
            mistakes
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}
