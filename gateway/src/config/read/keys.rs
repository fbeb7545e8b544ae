//! Reads the table `keys` of a source: where the keys of the provider are fetched.

use std::path::Path;
use std::sync::Arc;

use hookgate_core::Scheme;
use hookgate_core::internal::{FromValue, NamePattern, PathPattern, Report, Section, Value, text};
use hookgate_keys::{AddressPolicy, CertificateChain, HttpsClient, KeyFetcher, KeySettings};
use rustls::pki_types::CertificateDer;

use super::positive_duration;
use crate::config::Inputs;
use crate::config::secrets::SecretRef;
use crate::pem;

/// Reads `keys`. `name` is that of the source.
pub(super) fn read(
    section: &Section<'_>,
    name: Option<&str>,
    scheme: Option<&Scheme>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<KeyFetcher> {
    let table = section.section("keys")?;
    let settings = read_settings(&table, inputs, warnings);
    let roots = read_roots(&table, inputs);
    let settings = match &roots {
        Some(roots) => settings.roots(roots.iter().cloned()),
        None => settings,
    };
    table.deny_unknown();
    if section.has("secrets") {
        section.wrong(
            "keys",
            "`secrets` and `keys` are both set; expected `secrets`, or `keys` to fetch the keys \
             that the provider publishes",
        );
        return None;
    }
    // The operator has written this address, so it may lead into his own network.
    let policy = match settings.has_url() {
        true => AddressPolicy::Any,
        false => AddressPolicy::Public,
    };
    let client = HttpsClient::new(policy, roots.as_deref())
        .map_err(|error| table.wrong("ca", error.to_string()))
        .ok()?;
    KeyFetcher::new(name?, scheme?, settings, Arc::new(client))
        .map_err(|error| table.wrong(error.key(), error.to_string()))
        .ok()
}

/// Reads every setting but `ca`.
fn read_settings(table: &Section<'_>, inputs: Inputs, warnings: &Report) -> KeySettings {
    let mut settings = KeySettings::default();
    if let Some(url) = table.optional::<String>("url") {
        if url.starts_with("http://") {
            warnings.add(
                table.key_path("url"),
                "keys that arrive over plain HTTP can be replaced in the network, which lets an \
                 attacker forge deliveries; use https",
            );
        }
        settings = settings.url(url);
    }
    if table.has("hosts") {
        settings = settings.hosts(table.required_list::<NamePattern>("hosts"));
    }
    if let Some(path) = table.optional::<PathPattern>("path") {
        settings = settings.path(path);
    }
    if table.has("names") {
        settings = settings.names(table.required_list::<NamePattern>("names"));
    }
    if let Some(Chain(chain)) = table.optional::<Chain>("chain") {
        settings = settings.chain(chain);
    }
    if let Some(timeout) = positive_duration(table, "timeout") {
        settings = settings.timeout(timeout);
    }
    if let Some(max_age) = positive_duration(table, "max_age") {
        settings = settings.max_age(max_age);
    }
    if let Some(keep) = positive_duration(table, "keep") {
        settings = settings.keep(keep);
    }
    read_credentials(table, settings, inputs)
}

/// Reads the authorities in the file `ca`.
fn read_roots(table: &Section<'_>, inputs: Inputs) -> Option<Vec<CertificateDer<'static>>> {
    let path = table
        .optional::<String>("ca")
        .filter(|_| inputs.are_read())?;
    let path = Path::new(&path);
    let read = pem::read("ca", path).and_then(|text| pem::certificates("ca", path, &text));
    read.map_err(|(key, message)| table.wrong(key, message))
        .ok()
}

/// Reads `credentials`, whose values are references such as `env:NAME`.
fn read_credentials(table: &Section<'_>, mut settings: KeySettings, inputs: Inputs) -> KeySettings {
    let Some(credentials) = table.section("credentials") else {
        return settings;
    };
    for (name, value) in credentials.raw() {
        let reference = value.as_str().and_then(SecretRef::parse);
        let read = reference
            .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
            .and_then(|reference| reference.read_if(inputs));
        match read {
            Ok(secret) => match secret.text() {
                Some(text) => settings = settings.credential(name, text),
                None => credentials.wrong(name, "is not UTF-8; expected a UTF-8 text"),
            },
            Err(message) => credentials.wrong(name, message),
        }
    }
    settings
}

/// The value of `chain`.
struct Chain(CertificateChain);

impl FromValue for Chain {
    const EXPECTED: &'static str = "\"roots\" or \"host\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "roots" => Some(Self(CertificateChain::Roots)),
            "host" => Some(Self(CertificateChain::Host)),
            _ => None,
        })
    }
}
