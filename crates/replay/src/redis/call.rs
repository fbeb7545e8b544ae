use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::{Instant, timeout_at};

use super::link::{Conn, Link};
use super::script::{Answer, Source};
use super::wire::Wire;
use crate::store::StoreError;

/// A script to run on keys, within so much time.
pub(super) struct Call<'a> {
    pub(super) script: &'static Source,
    /// All of one slot.
    pub(super) keys: &'a [&'a str],
    /// Repeated by the answer.
    pub(super) token: &'a str,
    /// By whether an earlier try may have been applied.
    pub(super) arguments: &'a (dyn Fn(bool) -> Vec<String> + Sync),
    pub(super) timeout: Duration,
}

/// Why a try gave no answer.
enum Fault {
    /// Nothing was applied.
    Refused(StoreError),
    /// It may have been applied.
    Unknown(StoreError),
}

impl Call<'_> {
    /// Runs it, and once more if it is not known whether it was applied. The connections over
    /// which it may be, or still come to be, are added to `sent` before anything goes over them.
    pub(super) async fn run(
        &self,
        link: &Link,
        sent: &mut Vec<Conn>,
    ) -> Result<(Answer, Conn), StoreError> {
        let start = Instant::now();
        // What was lost on the way is asked for again while there is time.
        let first = start + self.timeout.mul_f32(0.6);
        match self.attempt(link, first, false, sent).await {
            Ok(answer) => Ok(answer),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Unknown(_)) => {
                let again = self.attempt(link, start + self.timeout, true, sent);
                again.await.map_err(|fault| match fault {
                    Fault::Refused(error) | Fault::Unknown(error) => error,
                })
            }
        }
    }

    async fn attempt(
        &self,
        link: &Link,
        until: Instant,
        again: bool,
        sent: &mut Vec<Conn>,
    ) -> Result<(Answer, Conn), Fault> {
        let mut conn = link.conn(until).await.map_err(Fault::Refused)?;
        sent.push(conn.clone());
        let arguments = (self.arguments)(again);
        let answer = self.script.run(&mut conn.wire, self.keys, &arguments);
        match timeout_at(until, answer).await {
            Ok(Ok(value)) => match Answer::read(value, self.token) {
                Ok(answer) => Ok((answer, conn)),
                Err(error) => {
                    link.lost(&conn);
                    Err(Fault::Refused(error))
                }
            },
            Ok(Err(error)) => {
                let fault = fault(link, &conn, error);
                // A cluster may have been asked before, by its connection.
                if let (Fault::Refused(_), Wire::Node(_)) = (&fault, &conn.wire) {
                    sent.pop();
                }
                Err(fault)
            }
            Err(_) => {
                link.lost(&conn);
                let error = StoreError::new(format!("no answer within {:?}", self.timeout));
                Err(Fault::Unknown(error))
            }
        }
    }
}

fn fault(link: &Link, conn: &Conn, error: RedisError) -> Fault {
    let ErrorKind::Server(kind) = error.kind() else {
        // An answer with a code that the library does not know is an answer.
        if error.code().is_some() {
            return Fault::Refused(StoreError::new(error));
        }
        link.lost(conn);
        return Fault::Unknown(StoreError::new(error));
    };
    // Another server is the master by now, or this one was restarted.
    if matches!(
        kind,
        ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
    ) {
        link.lost(conn);
    }
    Fault::Refused(StoreError::new(error))
}
