//! `hookgate sign`: signs a delivery and prints what the sender adds to the body.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use hookgate_core::{SignError, Signer, UnixTime};
use hookgate_gate::Clock;
use http::{Method, Request};

use super::signing::SigningOptions;
use super::{Error, parse_time};
use crate::explain::Signing;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    #[command(flatten)]
    delivery: DeliveryOptions,

    /// Print one JSON object instead of `Name: value` lines
    #[arg(long)]
    json: bool,
}

/// The values that a provider chooses for each delivery.
#[derive(Debug, Args)]
pub(super) struct DeliveryOptions {
    /// Time of signing: seconds (up to 11 digits) or milliseconds (12 to 14 digits) since the
    /// Unix epoch, or RFC 3339; the default is now
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    pub(super) at: Option<UnixTime>,

    /// The event id, for providers that send it in a header; the default is a new id
    #[arg(long)]
    pub(super) id: Option<String>,
}

impl DeliveryOptions {
    /// Refuses an id that the scheme does not send in a header.
    pub(super) fn check(&self, signing: &Signing) -> Result<(), Error> {
        if self.id.is_none() || signing.scheme.has_id_header() {
            return Ok(());
        }
        let name = signing.title();
        Err(Error::new(format!(
            "--id: {name} sends the event id in the body; write it into the body instead"
        )))
    }
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    let signing = options.signing.resolve()?;
    options.delivery.check(&signing)?;
    let body = Bytes::from(body);
    let signed = sign(&signing, &options.delivery, &post(body.clone()), clock)?;
    let target_changed = *signed.uri() != signing.target().map_err(Error::new)?;
    let body_changed = *signed.body() != body;
    let mut out = io::stdout().lock();
    if options.json {
        let mut object = serde_json::Map::new();
        for (name, value) in signed.headers() {
            object.insert(name.to_string(), text(value.as_bytes()).into());
        }
        if target_changed || body_changed {
            object = serde_json::Map::from_iter([
                ("target".to_owned(), signed.uri().to_string().into()),
                ("headers".to_owned(), object.into()),
                ("body".to_owned(), text(signed.body()).into()),
            ]);
        }
        writeln!(out, "{}", serde_json::Value::Object(object))?;
        return Ok(ExitCode::SUCCESS);
    }
    // `verify --capture` reads the request, and `verify --headers` the header lines alone.
    let is_request = target_changed || body_changed;
    if is_request {
        writeln!(out, "{} {} HTTP/1.1", signed.method(), signed.uri())?;
    }
    for (name, value) in signed.headers() {
        writeln!(out, "{name}: {}", text(value.as_bytes()))?;
    }
    if is_request {
        writeln!(out)?;
        out.write_all(signed.body())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a request with the method POST.
pub(super) fn post(body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    request
}

/// Signs `request` as the options demand. They decide the target of the signed request.
pub(super) fn sign(
    signing: &Signing,
    delivery: &DeliveryOptions,
    request: &Request<Bytes>,
    clock: &dyn Clock,
) -> Result<Request<Bytes>, Error> {
    let at = delivery.at.unwrap_or_else(|| clock.now());
    let signer = signing.signer(at)?;
    sign_with(&signer, signing, at, delivery.id.as_deref(), request)
}

/// Signs `request` with `signer`, at the time `at`.
pub(super) fn sign_with(
    signer: &Signer,
    signing: &Signing,
    at: UnixTime,
    id: Option<&str>,
    request: &Request<Bytes>,
) -> Result<Request<Bytes>, Error> {
    let mut request = request.clone();
    if let Some(method) = &signing.method {
        *request.method_mut() = method.clone();
    }
    *request.uri_mut() = signing.target().map_err(Error::new)?;
    let signed = match signer.sign_request(request.clone(), at, id) {
        Err(SignError::IdMissing) => signer.sign_request(request, at, Some(&new_id())),
        other => other,
    };
    signed.map_err(Error::with_causes)
}

/// Returns a random event id. The system seeds the hasher.
pub(super) fn new_id() -> String {
    format!("msg_{:016x}", RandomState::new().build_hasher().finish())
}
