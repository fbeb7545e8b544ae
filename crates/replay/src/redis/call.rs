//! [`ScriptCall`]: runs a script with a time limit, and once more if its reply is lost.

use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};
use hookgate_core::internal::ErrorChain;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::connection_keeper::{ConnectionKeeper, LiveConnection};
use super::error::ScriptError;
use super::script::{Reply, Script};
use crate::store::StoreError;

/// A script with its keys, its arguments and a time limit.
pub(super) struct ScriptCall<'a> {
    pub(super) script: &'static Script,
    /// All keys are in the same slot of a cluster.
    pub(super) keys: &'a [String],
    /// The reply starts with this token.
    pub(super) token: &'a str,
    pub(super) arguments: &'a (dyn Fn(Try) -> Vec<String> + Sync),
    pub(super) timeout: Duration,
}

/// Whether an earlier try of the same call may have been applied.
///
/// It is unrelated to the attempt of a [`Lease`](crate::Lease), which counts deliveries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    First,
    Second,
}

/// A try that ended without a usable reply.
#[derive(Debug)]
enum CallError {
    /// The script is not run again: the server refused it, no connection was found, or the
    /// reply was unreadable. In the last case the server may have applied the script.
    Final(StoreError),
    /// The reply is lost, and the server may have applied the script. It is run again.
    ReplyLost(StoreError),
}

impl ScriptCall<'_> {
    /// The part of the time limit after which the first try is abandoned.
    const FIRST_TRY: f32 = 0.6;

    /// Runs the script, and runs it again if it is unknown whether the script was applied.
    ///
    /// Adds each connection to `sent` before the script goes over it, so that the caller can
    /// release a claim whose reply is lost.
    pub(super) async fn run(
        &self,
        keeper: &ConnectionKeeper,
        sent: &mut Vec<LiveConnection>,
    ) -> Result<(Reply, LiveConnection), StoreError> {
        let start = Instant::now();
        let deadline = start + self.timeout.mul_f32(Self::FIRST_TRY);
        match self.try_once(keeper, deadline, Try::First, sent).await {
            Ok(reply) => Ok(reply),
            Err(CallError::Final(error)) => Err(error),
            Err(CallError::ReplyLost(error)) => {
                tracing::debug!(error = %ErrorChain(&error), "the reply to a script is lost; running it again");
                let deadline = start + self.timeout;
                let second = self.try_once(keeper, deadline, Try::Second, sent);
                second.await.map_err(CallError::into_store_error)
            }
        }
    }

    /// Sends the script over the current connection, and waits for its reply until `deadline`.
    async fn try_once(
        &self,
        keeper: &ConnectionKeeper,
        deadline: Instant,
        this_try: Try,
        sent: &mut Vec<LiveConnection>,
    ) -> Result<(Reply, LiveConnection), CallError> {
        let mut live = keeper.current(deadline).await.map_err(CallError::Final)?;
        sent.push(live.clone());
        let arguments = (self.arguments)(this_try);
        let reply = self.script.run(&mut live.connection, self.keys, &arguments);
        match timeout_at(deadline, reply).await {
            Ok(Ok(value)) => match Reply::read(value, self.token) {
                Ok(reply) => Ok((reply, live)),
                Err(error) => {
                    keeper.report_lost(&live);
                    Err(CallError::Final(StoreError::new(error)))
                }
            },
            Ok(Err(error)) => {
                let error = classify(keeper, &live, error);
                // A cluster connection repeats commands by itself, so an earlier copy of the
                // command may have been applied even if the server refused the last one.
                if let (CallError::Final(_), Connection::Node(_)) = (&error, &live.connection) {
                    sent.pop();
                }
                Err(error)
            }
            Err(_elapsed) => {
                keeper.report_lost(&live);
                let error = ScriptError::Timeout(self.timeout);
                Err(CallError::ReplyLost(StoreError::new(error)))
            }
        }
    }
}

/// Decides whether the command may have been applied, and reports lost connections.
fn classify(keeper: &ConnectionKeeper, live: &LiveConnection, error: RedisError) -> CallError {
    let ErrorKind::Server(kind) = error.kind() else {
        // An error with a code comes from the server, even if the library does not know it.
        if error.code().is_some() {
            return CallError::Final(StoreError::new(ScriptError::Redis(error)));
        }
        keeper.report_lost(live);
        return CallError::ReplyLost(StoreError::new(ScriptError::Redis(error)));
    };
    // Another server has become the master, or this one was restarted.
    if matches!(
        kind,
        ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
    ) {
        keeper.report_lost(live);
    }
    CallError::Final(StoreError::new(ScriptError::Redis(error)))
}

impl CallError {
    fn into_store_error(self) -> StoreError {
        match self {
            Self::Final(error) | Self::ReplyLost(error) => error,
        }
    }
}
