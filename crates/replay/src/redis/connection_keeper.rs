//! [`ConnectionKeeper`]: holds the connection to the server and replaces it when it is lost.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::RedisConfig;
use super::connect::connect;
use super::connection::Connection;
use super::data_loss::{DataLossDetector, ServerData};
use super::error::{ConnectError, ScriptError};
use crate::store::StoreError;

/// Holds the current connection. A task of its own replaces a lost one.
pub(super) struct ConnectionKeeper {
    state: Arc<watch::Sender<State>>,
    reconnect_task: AbortHandle,
}

/// A connection with its number, which grows with each replacement.
#[derive(Clone)]
pub(super) struct LiveConnection {
    number: u64,
    pub(super) connection: Connection,
}

#[derive(Clone)]
enum State {
    Connected(LiveConnection),
    /// The connection was lost, and the first attempt to reconnect is under way. Claims wait
    /// for it, because a connection that was idle for long is often lost and replaced at once.
    Lost,
    /// The last attempt to reconnect failed. Claims fail at once instead of queueing up.
    Down(Arc<ConnectError>),
}

/// The last attempt to connect failed, and the next one is pending.
#[derive(Debug)]
struct Disconnected(Arc<ConnectError>);

/// How often an idle connection is checked.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The pause between attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

impl ConnectionKeeper {
    pub(super) async fn open(
        config: Arc<RedisConfig>,
        data_loss: Arc<DataLossDetector>,
    ) -> Result<Self, ConnectError> {
        let connection = connect(&config).await?;
        let data = data_loss.probe(&connection).await;
        if data.map_err(ConnectError::Probe)? == ServerData::Lost {
            tracing::warn!(
                server = %config,
                prefix = config.prefix,
                "the replay store has no earlier events: the server is new or has lost its data. \
                 Deliveries signed before now are refused, because they may have been delivered \
                 before"
            );
        }
        let first = LiveConnection {
            number: 0,
            connection,
        };
        let (state, _) = watch::channel(State::Connected(first));
        let state = Arc::new(state);
        let task = reconnect_when_lost(Arc::clone(&state), config, data_loss);
        let reconnect_task = tokio::spawn(task).abort_handle();
        Ok(Self {
            state,
            reconnect_task,
        })
    }

    /// Returns the current connection. Waits for a new one only while the first attempt to
    /// reconnect is under way.
    pub(super) async fn current(&self, deadline: Instant) -> Result<LiveConnection, StoreError> {
        match &*self.state.borrow() {
            State::Connected(live) => return Ok(live.clone()),
            State::Down(error) => return Err(disconnected(error)),
            State::Lost => {}
        }
        let mut states = self.state.subscribe();
        let decided = states.wait_for(|state| !matches!(state, State::Lost));
        match timeout_at(deadline, decided).await {
            Ok(Ok(state)) => match &*state {
                State::Connected(live) => Ok(live.clone()),
                State::Down(error) => Err(disconnected(error)),
                State::Lost => Err(StoreError::new("the connection was lost")),
            },
            Ok(Err(_closed)) => Err(StoreError::new("the connection was lost")),
            Err(_elapsed) => Err(StoreError::new(
                "the connection was lost, and the server has not accepted a new one in time",
            )),
        }
    }

    /// Starts the replacement of a lost connection, unless it was replaced before.
    pub(super) fn report_lost(&self, lost: &LiveConnection) {
        // A cluster connection replaces the connections to its nodes by itself, while the
        // other nodes stay in use.
        if matches!(lost.connection, Connection::Cluster(_)) {
            return;
        }
        self.state.send_if_modified(|state| {
            let is_current = matches!(state, State::Connected(live) if live.number == lost.number);
            if is_current {
                *state = State::Lost;
            }
            is_current
        });
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(&*self.state.borrow(), State::Connected(_))
    }
}

impl Drop for ConnectionKeeper {
    fn drop(&mut self) {
        self.reconnect_task.abort();
    }
}

async fn reconnect_when_lost(
    state: Arc<watch::Sender<State>>,
    config: Arc<RedisConfig>,
    data_loss: Arc<DataLossDetector>,
) {
    let mut states = state.subscribe();
    let mut number = 0;
    while wait_until_lost(&mut states, &config).await {
        match reconnect(&config, &data_loss).await {
            Ok(connection) => {
                number += 1;
                state.send_replace(State::Connected(LiveConnection { number, connection }));
            }
            Err(error) => {
                state.send_replace(State::Down(Arc::new(error)));
                sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

async fn reconnect(
    config: &RedisConfig,
    data_loss: &DataLossDetector,
) -> Result<Connection, ConnectError> {
    let connection = connect(config).await?;
    // The probe comes before the first claim: other gates do not know what this gate knows.
    let data = data_loss.probe(&connection).await;
    if data.map_err(ConnectError::Probe)? == ServerData::Lost {
        data_loss.log_data_loss();
    }
    Ok(connection)
}

/// Waits until there is no connection. Returns `false` if the store was dropped.
///
/// Pings an idle connection: another gate may claim from a server that has come back without
/// its data, and only this gate may know about the loss.
async fn wait_until_lost(states: &mut watch::Receiver<State>, config: &RedisConfig) -> bool {
    loop {
        let State::Connected(mut live) = states.borrow_and_update().clone() else {
            return true;
        };
        // A cluster connection watches the connections to its nodes by itself.
        let is_node = matches!(live.connection, Connection::Node(_));
        tokio::select! {
            changed = states.changed() => if changed.is_err() {
                return false;
            },
            () = sleep(PING_INTERVAL), if is_node => {
                if let Err(error) = ping(&mut live.connection, config.timeout).await {
                    tracing::debug!(error = %ErrorChain(&error), server = %config, "the connection was lost");
                    return true;
                }
            }
        }
    }
}

async fn ping(connection: &mut Connection, limit: Duration) -> Result<(), ScriptError> {
    match timeout(limit, connection.query(&::redis::cmd("PING"))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ScriptError::Redis(error)),
        Err(_elapsed) => Err(ScriptError::Timeout(limit)),
    }
}

fn disconnected(error: &Arc<ConnectError>) -> StoreError {
    StoreError::new(Disconnected(Arc::clone(error)))
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Disconnected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
