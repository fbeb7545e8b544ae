//! Proves that a backend closed an idle connection before a request arrived on it.
//!
//! If the backend closes the connection while the request is on its way, the request may be sent
//! again only if the backend certainly saw none of its bytes. Two facts together prove that:
//!
//! * The backend ended its side of the connection, and acknowledged no byte of the request. A
//!   backend that had received the request would acknowledge it with the end. A backend that ends
//!   its side processes no later request (RFC 9112 §9.6).
//! * It then reset the connection, because the request arrived at a socket that was closed.
//!
//! The missing acknowledgement alone proves nothing. A backend can read a request and reset the
//! connection before its system sends the delayed acknowledgement. Such a reset comes without an
//! end.

use std::time::Duration;

use pingora_core::protocols::UniqueIDType;
use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::time::sleep;

/// States of a socket (`include/net/tcp_states.h` of Linux).
const TCP_CLOSE: u8 = 7;
const TCP_CLOSE_WAIT: u8 = 8;
/// The time between two looks at the socket, and their number. The reset needs one round trip.
const POLL: Duration = Duration::from_millis(5);
const POLLS: u32 = 50;

/// Returns whether the backend saw no byte of the last request on `socket`. The stream has ended,
/// and `earlier` bytes were sent on it before that request.
///
/// Returns false if this cannot be proved: on systems other than Linux, and before Linux 6.2. Over
/// TLS, more bytes are acknowledged than the requests have, so the result is false too.
pub(super) async fn is_unseen(socket: UniqueIDType, earlier: u64) -> bool {
    for _ in 0..POLLS {
        let Ok(info) = get_tcp_info(socket) else {
            return false;
        };
        // The acknowledgement of the SYN counts as one byte.
        if info.tcpi_bytes_acked != earlier + 1 {
            return false;
        }
        match info.tcpi_state {
            TCP_CLOSE => return true,
            TCP_CLOSE_WAIT => sleep(POLL).await,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use bytes::Bytes;
    use hookgate_http1::{Connection, Transport};
    use pingora_core::protocols::Stream;
    use pingora_core::protocols::l4::stream::Stream as TcpIo;
    use pingora_http::RequestHeader;

    use super::*;
    use crate::upstream::exchange::{ExchangeError, Reuse, Timeouts};
    use crate::upstream::http1::Http1Connection;
    use crate::upstream::request::Request;

    const TIMEOUTS: Timeouts = Timeouts {
        write: None,
        first_byte: None,
    };

    /// A connection that has carried one exchange, and the socket of its backend.
    async fn used_connection() -> (Http1Connection, UniqueIDType, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let stream = tokio::net::TcpStream::connect(address).await;
        let stream: Stream = Box::new(TcpIo::from(stream.expect("the listener accepts")));
        let socket = stream.id();
        let (backend, _) = listener.accept().expect("a connection arrives");
        let connection = Connection::new(stream, Transport::Plain);
        let mut connection = Http1Connection::new(connection, Reuse::Allowed);
        let backend = exchange(&mut connection, backend).await;
        (connection, socket, backend)
    }

    /// Sends a request, to which the backend responds.
    async fn exchange(connection: &mut Http1Connection, mut backend: TcpStream) -> TcpStream {
        let responding = tokio::task::spawn_blocking(move || {
            read_request(&mut backend);
            let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            backend.write_all(response).expect("the gateway reads");
            backend
        });
        send(connection).await.expect("the backend responds");
        responding.await.expect("no panic")
    }

    async fn send(connection: &mut Http1Connection) -> Result<bool, ExchangeError> {
        let head = RequestHeader::build("POST", b"/", None).expect("a valid head");
        let body = Bytes::from_static(b"0123456789");
        connection
            .exchange(&Request::probe(&head), &body, TIMEOUTS)
            .await
    }

    /// Reads one request of [`send`].
    fn read_request(backend: &mut TcpStream) {
        let mut received = Vec::new();
        while !received.ends_with(b"0123456789") {
            let mut part = [0; 64];
            let len = backend.read(&mut part).expect("the gateway sends");
            assert!(len > 0, "the gateway sends the whole request");
            received.extend_from_slice(&part[..len]);
        }
    }

    fn reset(backend: TcpStream) {
        backend.set_nonblocking(true).expect("a TCP socket");
        let backend = tokio::net::TcpStream::from_std(backend).expect("the runtime runs");
        backend.set_zero_linger().expect("a TCP socket");
    }

    /// Waits until the end of the backend has arrived.
    async fn wait_for_end(socket: UniqueIDType) {
        while get_tcp_info(socket).expect("a TCP socket").tcpi_state != TCP_CLOSE_WAIT {
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_request_that_meets_a_closed_connection_was_not_seen() {
        // The acknowledgements of a connection that was used more often are delayed.
        for exchanges in [0, 30] {
            let (mut connection, socket, mut backend) = used_connection().await;
            for _ in 0..exchanges {
                backend = exchange(&mut connection, backend).await;
            }
            drop(backend);
            wait_for_end(socket).await;
            let error = send(&mut connection).await.expect_err("nobody responds");
            assert!(matches!(error, ExchangeError::NotProcessed(_)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_the_backend_may_have_seen_is_not_repeated() {
        type End = fn(TcpStream);
        let ends: [(&str, End); 5] = [
            ("reads all and resets", |mut backend| {
                read_request(&mut backend);
                reset(backend);
            }),
            ("reads all and closes", |mut backend| {
                read_request(&mut backend);
            }),
            ("closes with unread bytes", |backend| {
                backend.peek(&mut [0]).expect("the gateway sends");
            }),
            ("resets with unread bytes", |backend| {
                backend.peek(&mut [0]).expect("the gateway sends");
                reset(backend);
            }),
            ("ends its side, reads all, and closes", |mut backend| {
                backend.shutdown(Shutdown::Write).expect("it is connected");
                read_request(&mut backend);
                // It waits for the gateway to close the connection.
                let rest = backend.read(&mut [0]);
                assert!(
                    matches!(&rest, Ok(0)) || rest.is_err_and(|e| e.kind() != ErrorKind::TimedOut)
                );
            }),
        ];
        for (name, end) in ends {
            let (mut connection, _, backend) = used_connection().await;
            let ending = tokio::task::spawn_blocking(move || end(backend));
            let error = send(&mut connection).await.expect_err("nobody responds");
            assert!(
                matches!(error, ExchangeError::Failed(_)),
                "{name}: {error:?}"
            );
            drop(connection);
            ending.await.expect("no panic");
        }
    }
}
