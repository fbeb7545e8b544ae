//! Errors of a middleware of actix-web that is inside of the program's.

use std::fmt;
use std::net::TcpListener;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use hookgate_core::Secret;
use hookgate_gate::Receiver;

use crate::programs::actix::{handle, verify};
use crate::support::{SECRET, delivery, run_actix, send, serve_in_thread};

/// An error whose `status_code` is 500, whatever the status of its response is.
#[derive(Debug)]
struct Failure(StatusCode);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Failure {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.0)
    }
}

/// Fails with the status that the request names.
async fn fail(
    request: ServiceRequest,
    _: Next<actix_web::body::BoxBody>,
) -> actix_web::Result<ServiceResponse> {
    let status = request.headers().get("x-status").expect("the test sets it");
    let status = StatusCode::from_bytes(status.as_bytes()).expect("the test sets a status");
    Err(Failure(status).into())
}

fn serve(listener: TcpListener) {
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let receiver = Data::new(Receiver::provider("stripe", secret).expect("the provider exists"));
    let app = move |config: &mut ServiceConfig| {
        let hooks = web::resource("/hooks/stripe").route(web::post().to(handle));
        let hooks = hooks.wrap(from_fn(fail)).wrap(from_fn(verify));
        config.service(hooks.app_data(receiver.clone()));
    };
    run_actix(listener, app);
}

/// 410 and a redirect would end the subscription.
#[test]
fn the_response_to_an_error_settles_the_event_and_does_not_end_the_subscription() {
    let address = serve_in_thread(serve);
    for (status, expected) in [
        ("404", [404, 404]),
        ("410", [502, 502]),
        ("302", [502, 502]),
        ("204", [204, 200]),
    ] {
        let delivery = delivery(format!(r#"{{"id":"evt_{status}","type":"invoice.paid"}}"#));
        let statuses = [(); 2].map(|()| {
            let mut request = delivery.genuine();
            let value = status.parse().expect("the status is a header value");
            request.headers_mut().insert("x-status", value);
            send(&address, &request).status
        });
        assert_eq!(statuses, expected, "{status}");
    }
}
