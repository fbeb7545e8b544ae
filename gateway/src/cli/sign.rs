use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Args;
use hookgate_core::{SignError, Signer, UnixTime};
use hookgate_gate::Clock;
use http::HeaderMap;

use super::{Error, Signing, parse_time};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: Signing,

    #[command(flatten)]
    delivery: DeliveryOptions,

    /// Print one JSON object instead of `Name: value` lines
    #[arg(long)]
    json: bool,
}

/// What a provider says of a delivery besides its body.
#[derive(Debug, Args)]
pub(super) struct DeliveryOptions {
    /// When it is signed, in seconds since the Unix epoch; now if not given
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
    pub(super) at: Option<UnixTime>,

    /// The event id, for providers that have it in a header; a new one if not given
    #[arg(long)]
    pub(super) id: Option<String>,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    if options.delivery.id.is_some() && !options.signing.provider.scheme().has_id_header() {
        let name = options.signing.provider.title();
        return Err(Error::new(format!(
            "--id: {name} has the event id in the body"
        )));
    }
    let headers = sign(&options.signing, &options.delivery, &body, clock)?;
    let mut out = io::stdout().lock();
    if options.json {
        let object: serde_json::Map<String, serde_json::Value> = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes())
                        .into_owned()
                        .into(),
                )
            })
            .collect();
        writeln!(out, "{}", serde_json::Value::Object(object))?;
    } else {
        for (name, value) in &headers {
            writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn sign(
    signing: &Signing,
    delivery: &DeliveryOptions,
    body: &[u8],
    clock: &dyn Clock,
) -> Result<HeaderMap, Error> {
    let scheme = signing.provider.scheme();
    let signer = Signer::new(scheme, &signing.secret()?).map_err(Error::new)?;
    let at = delivery.at.unwrap_or_else(|| clock.now());
    let signed = match signer.sign(body, at, delivery.id.as_deref()) {
        Err(SignError::IdNeeded) => signer.sign(body, at, Some(&new_id())),
        other => other,
    };
    signed.map_err(Error::new)
}

/// An event id that nobody has used. The hasher is seeded by the system.
pub(super) fn new_id() -> String {
    format!("msg_{:016x}", RandomState::new().build_hasher().finish())
}
