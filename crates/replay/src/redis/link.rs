use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::RedisConfig;
use super::script::Answer;
use super::since::Memory;
use super::wire::Wire;
use crate::store::StoreError;

/// Keeps a connection open, and knows when there is none.
pub(super) struct Link {
    state: Arc<watch::Sender<State>>,
    keeper: AbortHandle,
}

/// A connection, and which one.
#[derive(Clone)]
pub(super) struct Conn {
    number: u64,
    pub(super) wire: Wire,
}

#[derive(Clone)]
enum State {
    Up(Conn),
    /// Lost this moment; the first try to connect again is under way. A
    /// connection that was idle for long is often lost, and replaced at once.
    Lost,
    /// That failed. Nobody waits: a queue would only grow.
    Down(Arc<str>),
}

/// Between looks at a connection.
const LOOK: Duration = Duration::from_secs(1);

/// Between tries to connect.
const PAUSE: Duration = Duration::from_millis(200);

impl Link {
    pub(super) async fn open(
        config: Arc<RedisConfig>,
        memory: Arc<Memory>,
    ) -> Result<Self, StoreError> {
        let wire = Wire::open(&config).await?;
        if memory.look(&wire).await? == Answer::Lost {
            tracing::warn!(
                server = %config,
                prefix = config.prefix,
                "the replay store remembers nothing: it is new, or has lost its data. What was \
                 signed up to now is refused, as it may have been delivered before"
            );
        }
        let (state, _) = watch::channel(State::Up(Conn { number: 0, wire }));
        let state = Arc::new(state);
        let keeper = tokio::spawn(keep(Arc::clone(&state), config, memory)).abort_handle();
        Ok(Self { state, keeper })
    }

    /// The connection. Waits for one only while the first try is under way.
    pub(super) async fn conn(&self, until: Instant) -> Result<Conn, StoreError> {
        match &*self.state.borrow() {
            State::Up(conn) => return Ok(conn.clone()),
            State::Down(why) => return Err(StoreError::new(&**why)),
            State::Lost => {}
        }
        let mut states = self.state.subscribe();
        let settled = states.wait_for(|state| !matches!(state, State::Lost));
        match timeout_at(until, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(conn) => Ok(conn.clone()),
                State::Down(why) => Err(StoreError::new(&**why)),
                State::Lost => Err(StoreError::new("the connection was lost")),
            },
            _ => Err(StoreError::new(
                "the connection was lost, and the server takes long to accept another",
            )),
        }
    }

    /// Has `conn` replaced, unless it has been already.
    pub(super) fn lost(&self, conn: &Conn) {
        // The nodes of a cluster come and go one by one; its connections see to
        // that themselves, and the others serve meanwhile.
        if matches!(conn.wire, Wire::Cluster(_)) {
            return;
        }
        self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(up) if up.number == conn.number);
            if current {
                *state = State::Lost;
            }
            current
        });
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(state: Arc<watch::Sender<State>>, config: Arc<RedisConfig>, memory: Arc<Memory>) {
    let mut states = state.subscribe();
    let mut number = 0;
    while ends(&mut states, &config).await {
        match connect(&config, &memory).await {
            Ok(wire) => {
                number += 1;
                state.send_replace(State::Up(Conn { number, wire }));
            }
            Err(error) => {
                state.send_replace(State::Down(error.cause().into()));
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connect(config: &RedisConfig, memory: &Memory) -> Result<Wire, StoreError> {
    let wire = Wire::open(config).await?;
    // Before anybody claims: other gates know nothing of what was lost here.
    if memory.look(&wire).await? == Answer::Lost {
        memory.cry_loss();
    }
    Ok(wire)
}

/// Whether there is no connection any more, once that is so. One that nobody uses is
/// asked now and then: others may claim from a server that came back, and do not know
/// what this gate knows.
async fn ends(states: &mut watch::Receiver<State>, config: &RedisConfig) -> bool {
    loop {
        let State::Up(mut conn) = states.borrow_and_update().clone() else {
            return true;
        };
        let is_node = matches!(conn.wire, Wire::Node(_));
        tokio::select! {
            changed = states.changed() => if changed.is_err() {
                return false;
            },
            // A cluster sees to its connections itself.
            () = sleep(LOOK), if is_node => {
                let ping = ::redis::cmd("PING");
                let answer = timeout(config.timeout, conn.wire.ask(&ping)).await;
                if !matches!(answer, Ok(Ok(_))) {
                    return true;
                }
            }
        }
    }
}
