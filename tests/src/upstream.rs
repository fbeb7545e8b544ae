use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;
use tower_hookgate::HookgateLayer;

/// An axum program that takes what it is sent and remembers it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    behaviours: Mutex<VecDeque<Behaviour>>,
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What is done with a request; once each, then 204 for all others.
#[derive(Clone, Debug)]
pub enum Behaviour {
    Answer(StatusCode),
    Respond(StatusCode, &'static [(&'static str, &'static str)], Bytes),
    After(Duration, StatusCode),
    /// Never answers.
    Hang,
}

impl Upstream {
    pub async fn start() -> Self {
        Self::start_with(|router| router).await
    }

    /// Starts it with `adjust` applied to its router, such as a layer.
    pub async fn start_with(adjust: impl FnOnce(Router) -> Router) -> Self {
        Self::serve(|listener, router| {
            let router = adjust(router);
            async move {
                let served = axum::serve(listener, router).await;
                served.expect("serving does not fail");
            }
        })
        .await
    }

    /// Starts it in a server of tonic, behind `layer`. It also answers gRPC health
    /// checks of `program`, and takes HTTP/1.1 and HTTP/2 in clear text.
    pub async fn start_in_tonic(layer: HookgateLayer) -> Self {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_service_status("program", tonic_health::ServingStatus::Serving)
            .await;
        Self::serve(|listener, router| async move {
            let served = tonic::transport::Server::builder()
                .accept_http1(true)
                .layer(layer)
                .add_routes(Routes::from(router).add_service(health))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await;
            served.expect("serving does not fail");
        })
        .await
    }

    /// Starts that server with nothing in front of it, and with what sets how its services
    /// are.
    pub async fn start_grpc() -> (Self, HealthReporter) {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_service_status("program", tonic_health::ServingStatus::Serving)
            .await;
        let upstream = Self::serve(|listener, router| async move {
            let served = tonic::transport::Server::builder()
                .add_routes(Routes::from(router).add_service(health))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await;
            served.expect("serving does not fail");
        })
        .await;
        (upstream, reporter)
    }

    /// Starts it behind TLS, with HTTP/2 and HTTP/1.1.
    pub async fn start_tls(tls: Arc<ServerConfig>) -> Self {
        Self::serve(|tcp, router| async move {
            let acceptor = TlsAcceptor::from(tls);
            let served = axum::serve(TlsListener { tcp, acceptor }, router).await;
            served.expect("serving does not fail");
        })
        .await
    }

    async fn serve<F>(serve: impl FnOnce(TcpListener, Router) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        Self {
            address,
            shared,
            server: tokio::spawn(serve(listener, router)),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived since this was asked last.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.shared.arrivals.lock().expect("no handler panics"))
    }

    /// Does this with the next request that has nothing else set.
    pub fn next(&self, behaviour: Behaviour) {
        self.shared
            .behaviours
            .lock()
            .expect("no handler panics")
            .push_back(behaviour);
    }
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.expect("it listens");
            // Who gives no handshake is nobody.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .expect("the whole body arrives");
    let path = parts.uri.to_string();
    let arrival = Arrival {
        path,
        headers: parts.headers,
        body,
    };
    shared
        .arrivals
        .lock()
        .expect("no handler panics")
        .push(arrival);
    let behaviour = shared
        .behaviours
        .lock()
        .expect("no handler panics")
        .pop_front();
    let (status, headers, body) = match behaviour {
        None => (StatusCode::NO_CONTENT, &[][..], Bytes::new()),
        Some(Behaviour::Answer(status)) => (status, &[][..], Bytes::new()),
        Some(Behaviour::Respond(status, headers, body)) => (status, headers, body),
        Some(Behaviour::After(delay, status)) => {
            sleep(delay).await;
            (status, &[][..], Bytes::new())
        }
        Some(Behaviour::Hang) => std::future::pending().await,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        response
            .headers_mut()
            .append(*name, value.parse().expect("a header value"));
    }
    response
}
