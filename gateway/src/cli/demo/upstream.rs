//! The upstream of the demonstration. It records each body, and fails on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::Fds;
use pingora_core::services::Service;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::Error;
use crate::listener::{SocketOpener, bind};

/// A running HTTP server on a free local port.
pub(super) struct Upstream {
    state: Arc<State>,
    address: SocketAddr,
    _shutdown: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// The bodies that were received.
    bodies: Mutex<Vec<Vec<u8>>>,
    fail_next: AtomicBool,
}

impl Upstream {
    pub(super) fn start(runtime: &Runtime) -> Result<Self, Error> {
        let state = Arc::new(State::default());
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut service = bind(
            "upstream",
            [any_port],
            App(Arc::clone(&state)),
            L4BufferSettings::default(),
            &mut SocketOpener::new(Vec::new()),
        )?;
        let address = service
            .addresses()
            .next()
            .ok_or_else(|| Error::new("the upstream has no address"))?;
        let (shutdown, watch) = watch::channel(false);
        runtime.spawn(async move {
            let sockets = Arc::new(Mutex::new(Fds::new()));
            service.start_service(Some(sockets), watch, 1).await;
        });
        Ok(Self {
            state,
            address,
            _shutdown: shutdown,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the bodies that were received since the last call.
    pub(super) fn take_received(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state.bodies.lock())
    }

    /// Responds to the next delivery with status 500.
    pub(super) fn fail_next(&self) {
        self.state.fail_next.store(true, Ordering::SeqCst);
    }
}

struct App(Arc<State>);

#[async_trait]
impl ServeHttp for App {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let verified = session
            .get_header("hookgate-verified")
            .is_some_and(|v| v == "true");
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = session.read_request_body().await {
            body.extend_from_slice(&chunk);
        }
        let fail = self.0.fail_next.swap(false, Ordering::SeqCst);
        let mut response = Response::new(Vec::new());
        *response.status_mut() = match (verified, fail) {
            (false, _) => StatusCode::FORBIDDEN,
            (true, true) => StatusCode::INTERNAL_SERVER_ERROR,
            (true, false) => StatusCode::NO_CONTENT,
        };
        self.0.bodies.lock().push(body);
        response
    }
}
