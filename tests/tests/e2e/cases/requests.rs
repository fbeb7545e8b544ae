//! The cases that need a running gateway: requests in order, each with its expected result.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate_tests::{Behaviour, Gateway, Upstream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::BUG_REPORTS;

/// The longest wait for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct GatewayCase {
    name: String,
    secret: String,
    config: String,
    env: BTreeMap<String, String>,
    steps: Vec<Step>,
    /// The body of the upstream's responses.
    upstream_body: Option<String>,
    #[serde(default)]
    contested: bool,
}

#[derive(Debug, Deserialize)]
struct Step {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    sign: Option<Sign>,
    #[serde(default)]
    framing: Framing,
    expect: OneOrMore<Expected>,
}

/// How a step is signed when it is sent. `{ts}` and `{sig}` stand for the values.
#[derive(Debug, Deserialize)]
struct Sign {
    #[serde(default)]
    ts_offset: i64,
    message: Option<String>,
    hmac: Option<String>,
    encode: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    jwt: Option<Map<String, Value>>,
    alg: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Framing {
    http10: bool,
    chunked: bool,
    expect_100: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// A status, several, or a class such as `5xx`.
    status: OneOrMore<Value>,
    forwarded: Option<usize>,
    outcome: Option<String>,
    body: Option<String>,
    json: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    interim_100: bool,
}

/// The result of a step.
#[derive(Debug)]
struct Observed {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    interim_100: bool,
    forwarded: Vec<Bytes>,
}

impl Expected {
    /// Describes the first difference from `observed`. Returns `None` if there is none.
    fn difference(&self, observed: &Observed, sent: &str) -> Option<String> {
        let status = observed.status.as_str();
        let allows = |expected: &Value| {
            let expected = match expected {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            expected == status || expected.ends_with("xx") && expected[..1] == status[..1]
        };
        if !self.status.as_slice().iter().any(allows) {
            return Some(format!("status {status}, expected {:?}", self.status));
        }
        let forwarded = observed.forwarded.len();
        if self.forwarded.is_some_and(|expected| expected != forwarded) {
            return Some(format!(
                "forwarded {forwarded}, expected {:?}",
                self.forwarded
            ));
        }
        if let Some(body) = observed.forwarded.iter().find(|body| *body != sent) {
            return Some(format!("forwarded other bytes: {body:?}"));
        }
        let header = |name: &str| {
            observed
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if self.outcome.is_some() && self.outcome.as_deref() != header("hookgate-outcome") {
            return Some(format!("outcome {:?}", header("hookgate-outcome")));
        }
        if self
            .body
            .as_ref()
            .is_some_and(|body| *body != observed.body)
        {
            return Some(format!(
                "body {:?}, expected {:?}",
                observed.body, self.body
            ));
        }
        if let Some(json) = &self.json
            && serde_json::from_slice::<Value>(&observed.body)
                .ok()
                .as_ref()
                != Some(json)
        {
            return Some(format!("body {:?}, expected {json}", observed.body));
        }
        for (name, value) in &self.headers {
            if header(name) != value.as_deref() {
                return Some(format!(
                    "header {name}: {:?}, expected {value:?}",
                    header(name)
                ));
            }
        }
        (self.interim_100 && !observed.interim_100).then(|| "no 100 Continue".to_owned())
    }
}

impl Sign {
    /// Returns the text of the timestamp and the signature of `body`.
    fn sign(&self, secret: &str, body: &str) -> (String, String) {
        let now = hookgate_tests::now().secs() + self.ts_offset;
        let key = match (&self.key, &self.key_base64) {
            (Some(key), _) => key.clone().into_bytes(),
            (None, Some(key)) => STANDARD.decode(key).expect("key_base64 is base64"),
            (None, None) => secret.as_bytes().to_vec(),
        };
        if let Some(claims) = &self.jwt {
            assert_eq!(self.alg.as_deref(), Some("HS256"));
            return (now.to_string(), jwt(claims, now, &key));
        }
        assert_eq!(self.hmac.as_deref(), Some("sha256"));
        let message = self
            .message
            .as_deref()
            .expect("a step signs a message or a JWT");
        let message = message
            .replace("{ts}", &now.to_string())
            .replace("{body}", body);
        let mac = hmac_sha256(&key, message.as_bytes());
        let signature = match self.encode.as_deref() {
            Some("base64") => STANDARD.encode(mac),
            Some("hex") => hex::encode(mac),
            other => panic!("unknown encoding {other:?}"),
        };
        (now.to_string(), signature)
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is valid");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Returns a JSON Web Token with these claims. A claim `{"ts_plus": n}` is the time `now + n`.
fn jwt(claims: &Map<String, Value>, now: i64, key: &[u8]) -> String {
    let claims: Map<String, Value> = claims
        .iter()
        .map(
            |(name, value)| match value.get("ts_plus").and_then(Value::as_i64) {
                Some(offset) => (name.clone(), (now + offset).into()),
                None => (name.clone(), value.clone()),
            },
        )
        .collect();
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({ "alg": "HS256", "typ": "JWT" });
    let signed = format!("{}.{}", encode(header), encode(claims.into()));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

impl Step {
    /// Sends the step on a connection of its own, byte by byte as the case describes it.
    async fn send(&self, address: SocketAddr, secret: &str) -> Observed {
        let (ts, signature) = match &self.sign {
            Some(sign) => sign.sign(secret, &self.body),
            None => Default::default(),
        };
        let version = if self.framing.http10 {
            "HTTP/1.0"
        } else {
            "HTTP/1.1"
        };
        let mut head = format!("{} {} {version}\r\n", self.method, self.path);
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        let has_host = self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !has_host && !self.framing.http10 {
            line("Host", "hooks.example");
        }
        for (name, value) in &self.headers {
            line(
                name,
                &value.replace("{ts}", &ts).replace("{sig}", &signature),
            );
        }
        line("Connection", "close");
        let mut body = self.body.clone();
        if self.framing.chunked {
            line("Transfer-Encoding", "chunked");
            body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        } else if !body.is_empty() || self.method == "POST" {
            line("Content-Length", &body.len().to_string());
        }
        if self.framing.expect_100 {
            line("Expect", "100-continue");
        }
        head.push_str("\r\n");

        let mut stream = TcpStream::connect(address)
            .await
            .expect("the gateway listens");
        let mut interim = vec![0; 25];
        stream
            .write_all(head.as_bytes())
            .await
            .expect("the head is sent");
        if self.framing.expect_100 {
            let read = timeout(RESPONSE_TIMEOUT, stream.read_exact(&mut interim)).await;
            read.expect("the response arrives")
                .expect("the connection stays open");
        }
        // A gateway that refuses a request early may close the connection before it reads the
        // body.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut response = Vec::new();
        let read = timeout(RESPONSE_TIMEOUT, stream.read_to_end(&mut response)).await;
        read.expect("the response arrives")
            .expect("the response is complete");
        let (status, headers, body) = parse_response(&response);
        Observed {
            status,
            headers,
            body,
            interim_100: interim == b"HTTP/1.1 100 Continue\r\n\r\n",
            forwarded: Vec::new(),
        }
    }
}

/// Takes a response apart whose body ends with the connection.
fn parse_response(bytes: &[u8]) -> (StatusCode, HeaderMap, Bytes) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).expect("the response is HTTP/1");
    let head_len = parsed.unwrap();
    let status = response.code.expect("the head is complete");
    let headers: HeaderMap = response
        .headers
        .iter()
        .map(|field| {
            let name = HeaderName::from_bytes(field.name.as_bytes()).expect("the name is valid");
            (
                name,
                HeaderValue::from_bytes(field.value).expect("the value is valid"),
            )
        })
        .collect();
    assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
    let body = Bytes::copy_from_slice(&bytes[head_len..]);
    (
        StatusCode::from_u16(status).expect("the status is valid"),
        headers,
        body,
    )
}

/// Runs the steps of `case`. Returns the first step that came out wrong.
async fn run(case: &GatewayCase, gateway: &Gateway, upstream: &Upstream) -> Option<String> {
    let response = case
        .upstream_body
        .clone()
        .unwrap_or_else(|| "ok\n".to_owned());
    let response = Behaviour::Response(StatusCode::OK, &[], response.into());
    upstream.set_default_behaviour(response);
    for (index, step) in case.steps.iter().enumerate() {
        let mut observed = step.send(gateway.address(), &case.secret).await;
        let received = upstream.take_received();
        observed.forwarded = received.into_iter().map(|request| request.body).collect();
        let differences: Option<Vec<String>> = step
            .expect
            .as_slice()
            .iter()
            .map(|expected| expected.difference(&observed, &step.body))
            .collect();
        if let Some(differences) = differences {
            return Some(format!("step {index}: {differences:?}"));
        }
    }
    None
}

#[tokio::test]
async fn every_bug_report_comes_out_right_through_the_running_gateway() {
    let cases: Vec<Map<String, Value>> =
        serde_json::from_str(BUG_REPORTS).expect("the cases are JSON");
    let cases: Vec<GatewayCase> = cases
        .into_iter()
        .filter(|case| case["kind"] == "gateway")
        .map(|case| serde_json::from_value(case.into()).expect("the case has the known members"))
        .filter(|case: &GatewayCase| !case.contested)
        .collect();
    assert_eq!(cases.len(), 33);
    let upstream = Upstream::start().await;
    let mut builder = Gateway::builder(upstream.address());
    for case in &cases {
        builder = builder.table(&case.config);
        for (name, value) in &case.env {
            builder = builder.env(name, value);
        }
    }
    let gateway = builder.start_without_default_sources();
    let mut wrong = BTreeMap::new();
    for case in &cases {
        if let Some(text) = run(case, &gateway, &upstream).await {
            wrong.insert(case.name.clone(), text);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
