//! Invokes the function of AWS Lambda with events of an API Gateway and of a load balancer. This file is the runtime API
//! that Lambda has beside a function, so the function runs as it does there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::support::{PAID, delivery};

/// A running function. It stops when this value is dropped.
struct Function {
    process: Child,
    events: Sender<String>,
    responses: Receiver<String>,
}

impl Function {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the listener has an address");
        let (events, next) = channel();
        let (responded, responses) = channel();
        let next = Arc::new(Mutex::new(next));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (next, responded) = (Arc::clone(&next), responded.clone());
                std::thread::spawn(move || serve(stream, &next, &responded));
            }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambda"));
        command
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "hooks")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1");
        Self {
            process: crate::support::start(&mut command),
            events,
            responses,
        }
    }

    /// Returns the status of the response to `event`.
    fn invoke(&self, event: Value) -> Value {
        self.events
            .send(event.to_string())
            .expect("the runtime API waits");
        let response = self.responses.recv().expect("the function responds");
        let response: Value = serde_json::from_str(&response).expect("the response is JSON");
        response["statusCode"].clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves one connection of the function.
fn serve(stream: TcpStream, next: &Mutex<Receiver<String>>, responded: &Sender<String>) {
    let mut stream = BufReader::new(stream);
    while let Some((target, body)) = read_request(&mut stream) {
        let response = if target.ends_with("/next") {
            let next = next.lock().expect("no thread panics here");
            let Ok(event) = next.recv() else { return };
            format!(
                "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\
                 Lambda-Runtime-Deadline-Ms: 4102444800000\r\nContent-Length: {}\r\n\r\n{event}",
                event.len()
            )
        } else {
            responded.send(body).expect("the test waits");
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
        };
        stream
            .get_mut()
            .write_all(response.as_bytes())
            .expect("the function reads");
    }
}

/// Returns the target and the body of the next request; `None` at the end of the connection.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|len| *len > 0)?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut len = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length: ") {
            len = value.parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).ok()?;
    Some((target, String::from_utf8(body).ok()?))
}

/// Returns the event of an HTTP API or of a function URL.
pub fn http_api(request: &Request<Bytes>) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.uri().path(),
        "rawQueryString": request.uri().query().unwrap_or_default(),
        "headers": headers(request),
        "requestContext": {
            "stage": "$default",
            "timeEpoch": 0,
            "http": { "method": request.method().as_str(), "path": request.uri().path() },
        },
        "body": String::from_utf8_lossy(request.body()),
        "isBase64Encoded": false,
    })
}

/// Returns the event of a REST API, which names each header twice, and whose body is binary.
fn rest_api(request: &Request<Bytes>) -> Value {
    let headers = headers(request);
    let fields = headers.as_object().expect("the headers are an object");
    let lists: serde_json::Map<_, _> = fields
        .iter()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect();
    json!({
        "resource": "/{proxy+}",
        "path": request.uri().path(),
        "httpMethod": request.method().as_str(),
        "headers": headers,
        "multiValueHeaders": lists,
        "requestContext": {
            "stage": "prod",
            "httpMethod": request.method().as_str(),
            "requestTimeEpoch": 0,
            "identity": {},
        },
        "body": STANDARD.encode(request.body()),
        "isBase64Encoded": true,
    })
}

/// Returns the event of an application load balancer.
fn load_balancer(request: &Request<Bytes>) -> Value {
    json!({
        "requestContext": { "elb": { "targetGroupArn": "arn:aws:elasticloadbalancing:a:1:b" } },
        "httpMethod": request.method().as_str(),
        "path": request.uri().path(),
        "queryStringParameters": {},
        "headers": headers(request),
        "body": String::from_utf8_lossy(request.body()),
        "isBase64Encoded": false,
    })
}

fn headers(request: &Request<Bytes>) -> Value {
    let fields = request.headers().iter().map(|(name, value)| {
        let value = value.to_str().expect("the headers of Stripe are text");
        (name.as_str().to_owned(), Value::from(value))
    });
    Value::Object(fields.collect())
}

#[test]
fn a_genuine_delivery_is_handled_once_and_a_forged_one_never() {
    for event in [http_api, rest_api, load_balancer] {
        let function = Function::start();
        let delivery = delivery(PAID);
        for (request, expected) in [
            (delivery.forged(), 401),
            (delivery.late(), 401),
            (delivery.genuine(), 204),
            (delivery.genuine(), 200),
        ] {
            assert_eq!(function.invoke(event(&request)), expected);
        }
        let failing =
            crate::support::delivery(r#"{"id":"evt_2","type":"invoice.voided"}"#).genuine();
        for _ in 0..2 {
            assert_eq!(function.invoke(event(&failing)), 501);
        }
    }
}
