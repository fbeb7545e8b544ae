//! A sender that hangs up while the handler runs, and sends the event again.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Events, Sender, channel};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use hookgate_core::Secret;
use hookgate_gate::{Receiver, Source};
use http::StatusCode;
use poem::EndpointExt;
use poem::listener::TcpAcceptor;
use tokio::sync::Semaphore;

use crate::programs;
use crate::support::{Answer, PAID, SECRET, delivery, head, run_actix, send, serve_in_thread};

/// The longest time that the test waits for a handler.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a call of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Started,
    Dropped,
    Done,
}

/// A handler that waits for a permit of the test.
#[derive(Clone)]
struct Handler {
    calls: Sender<Call>,
    permits: Arc<Semaphore>,
}

/// Reports how a call ends.
struct CallGuard<'h>(&'h Handler, Call);

impl Handler {
    async fn handle(&self) {
        let _ = self.calls.send(Call::Started);
        let mut end = CallGuard(self, Call::Dropped);
        let permit = self.permits.acquire().await;
        permit.expect("the semaphore stays open").forget();
        end.1 = Call::Done;
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        let _ = self.0.calls.send(self.1);
    }
}

fn receiver() -> Receiver {
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let source = Source::of_provider("stripe", secret).expect("the provider exists");
    Receiver::new(source.duplicate_wait(Duration::from_millis(100)).build())
}

fn serve_actix(listener: TcpListener, handler: Handler) {
    async fn handle(handler: Data<Handler>) -> HttpResponse {
        handler.handle().await;
        HttpResponse::NoContent().finish()
    }
    let (receiver, handler) = (Data::new(receiver()), Data::new(handler));
    let app = move |config: &mut ServiceConfig| {
        let hooks = web::resource("/hooks/stripe").route(web::post().to(handle));
        let hooks = hooks.wrap(from_fn(programs::actix::verify));
        config.service(hooks.app_data(receiver.clone()).app_data(handler.clone()));
    };
    run_actix(listener, app);
}

#[tokio::main(flavor = "current_thread")]
async fn serve_poem(listener: TcpListener, handler: Handler) {
    #[poem::handler]
    async fn handle(handler: poem::web::Data<&Handler>) -> StatusCode {
        handler.handle().await;
        StatusCode::NO_CONTENT
    }
    let app = programs::poem::app(receiver(), handle).data(handler);
    let acceptor = TcpAcceptor::from_std(listener).expect("the listener is valid");
    let server = poem::Server::new_with_acceptor(acceptor);
    server.run(app).await.expect("the server runs");
}

/// A server whose handler runs for a sender that has hung up.
struct HungUp {
    address: String,
    calls: Events<Call>,
    permits: Arc<Semaphore>,
}

impl HungUp {
    fn start(serve: fn(TcpListener, Handler)) -> Self {
        let (sender, calls) = channel();
        let permits = Arc::new(Semaphore::new(0));
        let handler = Handler {
            calls: sender,
            permits: Arc::clone(&permits),
        };
        let server = Self {
            address: serve_in_thread(move |listener| serve(listener, handler)),
            calls,
            permits,
        };
        let request = delivery(PAID).genuine();
        let length = format!("Content-Length: {}\r\n\r\n{PAID}", PAID.len());
        let mut stream = TcpStream::connect(&server.address).expect("the server listens");
        // Most senders keep their connections.
        let head = head(&request).replace("Connection: close\r\n", "");
        let sent = stream.write_all((head + &length).as_bytes());
        sent.expect("the server reads");
        server.expect(Call::Started);
        server
    }

    fn expect(&self, call: Call) {
        assert_eq!(self.calls.recv_timeout(WAIT_TIMEOUT), Ok(call));
    }

    fn send_again(&self) -> Answer {
        send(&self.address, &delivery(PAID).genuine())
    }
}

#[test]
fn the_handler_runs_to_its_end_and_the_retry_waits_for_it() {
    for serve in [serve_actix as fn(TcpListener, Handler), serve_poem] {
        let server = HungUp::start(serve);
        assert_eq!(server.send_again().parts(), (503, Some("busy")));
        server.permits.add_permits(1);
        server.expect(Call::Done);
        assert_eq!(server.send_again().parts(), (200, Some("duplicate")));
        // The control: the second delivery has not run the handler.
        assert!(server.calls.try_recv().is_err());
    }
}
