use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

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
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let router = adjust(router);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serving does not fail");
        });
        Self {
            address,
            shared,
            server,
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
