//! Heads of responses that exceed the limits of `docs/network.md`, over both versions of HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hookgate_tests::Gateway;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{deliver_own, gateway, read_request, serve_raw};

/// The head of a response.
#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    fields: usize,
    /// The length of each value.
    length: usize,
}

impl Head {
    fn names(self) -> impl Iterator<Item = String> {
        (0..self.fields).map(|index| format!("x-{index:03}"))
    }

    fn value(self) -> String {
        "v".repeat(self.length)
    }

    fn http1(self) -> Vec<u8> {
        let value = self.value();
        let fields: String = self
            .names()
            .map(|name| format!("{name}: {value}\r\n"))
            .collect();
        let status = self.status;
        format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: 0\r\nconnection: close\r\n{fields}\r\n"
        )
        .into_bytes()
    }

    fn http2(self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("three digits");
        let value = HeaderValue::try_from(self.value()).expect("the value is valid");
        for name in self.names() {
            let name = HeaderName::try_from(name).expect("the name is valid");
            response.headers_mut().append(name, value.clone());
        }
        response
    }
}

/// Starts a server that responds with `head` to each request over HTTP/1.
async fn serve_http1(head: Head) -> SocketAddr {
    let bytes: Arc<[u8]> = head.http1().into();
    let (address, _) = serve_raw(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await;
    address
}

/// Starts a server that responds with `head` to each request over HTTP/2.
async fn serve_http2(head: Head) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                        }
                        let sent = respond.send_response(head.http2(), false);
                        if let Ok(mut stream) = sent {
                            let _ = stream.send_data(Bytes::new(), true);
                        }
                    });
                }
            });
        }
    });
    address
}

fn start(server: SocketAddr, protocol: &str) -> Gateway {
    let upstream = format!("servers = [\"http://{server}\"]\nprotocol = \"{protocol}\"");
    gateway(&upstream).start()
}

#[tokio::test]
async fn heads_above_the_limits_become_502_over_either_version_of_http() {
    let head = |status, fields, length| Head {
        status,
        fields,
        length,
    };
    for (head, expected) in [
        (head(200, 90, 1), 200),
        (head(200, 90, 2_000), 200),
        (head(599, 1, 1), 599),
        (head(200, 300, 1), 502),
        (head(200, 250, 1_100), 502),
        (head(200, 1, 300_000), 502),
        (head(600, 1, 1), 502),
        (head(999, 1, 1), 502),
    ] {
        let http1 = start(serve_http1(head).await, "http1");
        assert_eq!(deliver_own(&http1, "evt_1").await, expected, "{head:?}");
        let http2 = start(serve_http2(head).await, "h2c");
        assert_eq!(
            deliver_own(&http2, "evt_1").await,
            expected,
            "{head:?} over HTTP/2"
        );
    }
}
