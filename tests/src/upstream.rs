//! An upstream that records every request, behind axum, tonic, or TLS.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic_health::server::HealthReporter;
use tower_hookgate::HookgateLayer;

/// A server that records requests and responds 204, unless a test asks for another response.
///
/// It stops when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    arrivals: Mutex<Vec<ReceivedRequest>>,
    behaviours: Mutex<VecDeque<Behaviour>>,
    default_behaviour: Mutex<Option<Behaviour>>,
}

/// A request that the upstream received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The time at which its body was complete.
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How the upstream treats one request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Responds with this status and no body.
    Status(StatusCode),
    /// Responds with this status, these headers, and this body.
    Response(StatusCode, &'static [(&'static str, &'static str)], Bytes),
    /// Responds with this status after a delay.
    DelayedStatus(Duration, StatusCode),
    /// Responds with this status when the semaphore has a permit.
    HeldStatus(Arc<Semaphore>, StatusCode),
    /// Never responds.
    Hang,
}

impl Upstream {
    /// Starts an axum server.
    pub async fn start() -> Self {
        Self::start_with(|router| router).await
    }

    /// Starts an axum server with `adjust` applied to its router, for example to add a layer.
    pub async fn start_with(adjust: impl FnOnce(Router) -> Router) -> Self {
        Self::serve(|listener, router| serve_axum(listener, adjust(router))).await
    }

    /// Starts a tonic server behind `layer`, over HTTP/1.1 and HTTP/2 without TLS.
    ///
    /// It also serves gRPC health checks of the service `program`.
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
            served.expect("the server does not fail");
        })
        .await
    }

    /// Starts a tonic server without a layer. The returned reporter sets the health of its
    /// services.
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
            served.expect("the server does not fail");
        })
        .await;
        (upstream, reporter)
    }

    /// Starts an axum server over TLS, with HTTP/2 and HTTP/1.1.
    pub async fn start_tls(tls: Arc<ServerConfig>) -> Self {
        Self::serve(|tcp, router| async move {
            let acceptor = TlsAcceptor::from(tls);
            let served = axum::serve(TlsListener { tcp, acceptor }, router).await;
            served.expect("the server does not fail");
        })
        .await
    }

    async fn serve<F>(serve: impl FnOnce(TcpListener, Router) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        Self::serve_on(listener.expect("a port is free"), serve)
    }

    fn serve_on<F>(listener: TcpListener, serve: impl FnOnce(TcpListener, Router) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let address = listener.local_addr().expect("the listener is bound");
        Self {
            address,
            shared,
            server: tokio::spawn(serve(listener, router)),
        }
    }

    /// Returns the address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests received since the last call.
    pub fn take_received(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut self.shared.arrivals.lock().expect("no handler panics"))
    }

    /// Sets the behaviour for requests without a queued behaviour. It is 204 at the start.
    pub fn set_default_behaviour(&self, behaviour: Behaviour) {
        *self
            .shared
            .default_behaviour
            .lock()
            .expect("no handler panics") = Some(behaviour);
    }

    /// Queues `behaviour` for one request.
    pub fn queue_behaviour(&self, behaviour: Behaviour) {
        self.shared
            .behaviours
            .lock()
            .expect("no handler panics")
            .push_back(behaviour);
    }

    /// Holds back the response to one request, which will have this status.
    pub fn hold_response(&self, status: StatusCode) -> HeldResponse {
        let permits = Arc::new(Semaphore::new(0));
        self.queue_behaviour(Behaviour::HeldStatus(Arc::clone(&permits), status));
        HeldResponse(permits)
    }
}

/// A response that the upstream holds back. A test need not guess how long it takes.
#[derive(Debug)]
pub struct HeldResponse(Arc<Semaphore>);

impl HeldResponse {
    /// Lets the upstream respond.
    pub fn release(self) {
        self.0.add_permits(1);
    }
}

/// Returns how often the upstream received each event, by `hookgate-event-id`.
pub fn count_by_event(received: &[ReceivedRequest]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in received {
        let id = request.headers["hookgate-event-id"].to_str();
        *counts
            .entry(id.expect("the event id is text").to_owned())
            .or_default() += 1;
    }
    counts
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
            let (stream, address) = self.tcp.accept().await.expect("the listener accepts");
            // A failed handshake concerns that client only.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn serve_axum(listener: TcpListener, router: Router) {
    let served = axum::serve(listener, router).await;
    served.expect("the server does not fail");
}

/// An upstream that is down. Its address refuses connections.
#[derive(Debug)]
pub struct DeadUpstream {
    /// The socket holds the port and does not listen.
    socket: TcpSocket,
}

impl DeadUpstream {
    /// Reserves an address.
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket is available");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any_port).expect("a port is free");
        Self { socket }
    }

    /// Returns the address of the upstream.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("the socket is bound")
    }

    /// Starts an axum server at the address.
    pub fn revive(self) -> Upstream {
        let listener = self.socket.listen(1024).expect("the socket can listen");
        Upstream::serve_on(listener, serve_axum)
    }
}

impl Default for DeadUpstream {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        // The client broke off, so there is no request to record.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let path = parts.uri.to_string();
    let arrival = ReceivedRequest {
        at: Instant::now(),
        method: parts.method,
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
        .pop_front()
        .or_else(|| {
            let default = shared.default_behaviour.lock();
            default.expect("no handler panics").clone()
        });
    let (status, headers, body) = match behaviour {
        None => (StatusCode::NO_CONTENT, &[][..], Bytes::new()),
        Some(Behaviour::Status(status)) => (status, &[][..], Bytes::new()),
        Some(Behaviour::Response(status, headers, body)) => (status, headers, body),
        Some(Behaviour::DelayedStatus(delay, status)) => {
            sleep(delay).await;
            (status, &[][..], Bytes::new())
        }
        Some(Behaviour::HeldStatus(permits, status)) => {
            let permit = permits.acquire().await;
            permit.expect("no test closes the semaphore").forget();
            (status, &[][..], Bytes::new())
        }
        Some(Behaviour::Hang) => std::future::pending().await,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        response
            .headers_mut()
            .append(*name, value.parse().expect("the header value is valid"));
    }
    response
}
