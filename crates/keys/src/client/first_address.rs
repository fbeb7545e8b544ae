//! Connecting to the first of several addresses that answers (RFC 8305).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::unreachable;
use crate::fetch::FetchError;

/// The time after which the next address is tried beside the earlier ones (RFC 8305 §5). Within
/// the default time limit of a fetch, an address that never answers costs a small part.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Calls `connect` with one of `addresses` after the other, and returns the first connection.
///
/// The next attempt starts when an attempt fails, or after [`ATTEMPT_DELAY`]. The attempts that
/// are under way end with the call.
///
/// # Errors
///
/// Returns the error of the last attempt that failed if all of them fail, and
/// [`FetchError::AddressRefused`] if there is no address.
pub(super) async fn connect_first<T, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, FetchError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, FetchError>> + Send + 'static,
{
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = JoinSet::new();
    let mut last = FetchError::AddressRefused;
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(connect(address));
        }
        let ended = match addresses.peek() {
            Some(_) => timeout(ATTEMPT_DELAY, attempts.join_next()).await,
            None => Ok(attempts.join_next().await),
        };
        match ended {
            // Another address is tried, too.
            Err(_) => {}
            Ok(None) => return Err(last),
            Ok(Some(Ok(Ok(connection)))) => return Ok(connection),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(panic))) => last = unreachable(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    /// The behaviour of an address.
    #[derive(Clone, Copy)]
    enum Address {
        Silent,
        Refuses,
        /// Answers after this number of milliseconds.
        Answers(u64),
    }

    /// Returns the position of the address that answered first, and the time that it took.
    async fn first(addresses: &[Address]) -> (Option<usize>, Duration) {
        let began = Instant::now();
        let ports = (0..).take(addresses.len());
        let found = connect_first(
            ports.map(|port| SocketAddr::from(([192, 0, 2, 1], port))),
            |address| {
                let behaviour = addresses[usize::from(address.port())];
                async move {
                    match behaviour {
                        Address::Silent => pending().await,
                        Address::Refuses => Err(FetchError::Unreachable("refused".into())),
                        Address::Answers(after) => {
                            tokio::time::sleep(Duration::from_millis(after)).await;
                            Ok(usize::from(address.port()))
                        }
                    }
                }
            },
        );
        let found = timeout(Duration::from_secs(3), found).await;
        (found.ok().and_then(Result::ok), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_answers_does_not_use_up_the_time_limit() {
        use Address::{Answers, Refuses, Silent};
        for (addresses, expected, milliseconds) in [
            (&[Answers(0)][..], Some(0), 0),
            (&[Silent, Answers(10)], Some(1), 260),
            (&[Silent, Silent, Silent, Answers(10)], Some(3), 760),
            (&[Refuses, Answers(10)], Some(1), 10),
            (&[Silent, Refuses, Answers(10)], Some(2), 260),
            // A slow address may still win.
            (&[Answers(300), Answers(100)], Some(0), 300),
            (&[Answers(400), Answers(100)], Some(1), 350),
            (&[Refuses, Refuses], None, 0),
            (&[], None, 0),
            // The control: without another address, the time limit ends the attempt.
            (&[Silent], None, 3000),
        ] {
            let expected = (expected, Duration::from_millis(milliseconds));
            assert_eq!(first(addresses).await, expected);
        }
    }
}
