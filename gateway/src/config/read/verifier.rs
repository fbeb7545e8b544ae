//! Builds the verifier of a source from its scheme, secrets and parameters.

use hookgate_core::internal::{Report, Section, Value, build_without_keys};
use hookgate_core::{BuildError, Key, Scheme, Verifier, VerifierBuilder, Window};
use hookgate_gate::{Clock, SystemClock};

use super::tenants;
use crate::config::secrets::TENANT;
use crate::config::secrets::{SecretRef, read_keys};
use crate::config::{Inputs, TenantsConfig};

/// Reads the keys of a source that verification needs, and builds its verifier.
pub(super) fn read(
    section: &Section<'_>,
    scheme: Option<&Scheme>,
    window: Option<Window>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<Verifier> {
    let fetches_keys = section.has("keys");
    let keys = match fetches_keys {
        true => Vec::new(),
        false => read_secrets(section, scheme, inputs, warnings)?,
    };
    let url = read_url(section, inputs);
    let mut builder = read_builder(section, scheme, window, inputs, warnings)?;
    if let Some(url) = url {
        builder = builder.url(url);
    }
    let mut paths = Vec::with_capacity(keys.len());
    for (path, key) in keys {
        paths.push(path);
        builder = builder.key(key);
    }
    if fetches_keys {
        builder = builder.fetched_keys();
    } else if paths.is_empty() && (inputs.are_read() || has_no_secrets(section)) {
        report_empty_secrets(section);
        return None;
    }
    let verifier = match inputs {
        Inputs::Assumed if !fetches_keys => build_without_keys(builder),
        _ => builder.build(),
    };
    let verifier = verifier
        .map_err(|error| report_build_error(error, section, &paths))
        .ok()?;
    for index in verifier.weak_keys() {
        let message = "decodes to fewer than 16 bytes and could be guessed; expected a longer \
                       secret";
        warnings.add(&paths[index], message);
    }
    warn_of_inactive(&verifier, &paths, section, warnings);
    Some(verifier)
}

/// Reads a source with tenants. Returns a verifier without keys, and the settings for the verifier
/// of each tenant.
pub(super) fn read_for_tenants(
    section: &Section<'_>,
    scheme: Option<&Scheme>,
    window: Option<Window>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<(Verifier, TenantsConfig)> {
    let secrets = tenants::read(section, inputs, warnings);
    let url = section.optional::<String>("url");
    if let Some(text) = &url
        && !text.contains(TENANT)
    {
        section.wrong(
            "url",
            "the URL is signed, and it differs for each tenant; expected a URL with {tenant} in \
             its path, such as \"https://hooks.example.com/hooks/{tenant}\"",
        );
        return None;
    }
    let builder = read_builder(section, scheme, window, inputs, warnings)?;
    let scheme = ["provider", "scheme"].map(|key| section.value(key));
    let tenants = TenantsConfig {
        secrets: secrets?,
        scheme: scheme.into_iter().flatten().next().cloned(),
        verifier: builder,
        url,
    };
    let verifier = build_without_keys(tenants.verifier_of(tenants::SAMPLE))
        .map_err(|error| report_build_error(error, section, &[]))
        .ok()?;
    Some((verifier, tenants))
}

/// Reads everything of a verifier but its URL and its keys.
fn read_builder(
    section: &Section<'_>,
    scheme: Option<&Scheme>,
    window: Option<Window>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<VerifierBuilder> {
    let variant = section.optional::<String>("variant");
    let params = read_params(section, inputs);
    let allow_published = read_allow_published(section, warnings);
    let mut builder = Verifier::builder(scheme?);
    if allow_published {
        builder = builder.with_insecure_published_secrets();
    }
    if let Some(window) = window {
        builder = builder.window(window);
    }
    if let Some(variant) = variant {
        builder = builder.variant(variant);
    }
    for (name, value) in params {
        builder = builder.param(name, value);
    }
    Some(builder)
}

/// Reads `secrets`. Reports a source without secrets whose provider publishes keys.
fn read_secrets(
    section: &Section<'_>,
    scheme: Option<&Scheme>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<Vec<(String, Key)>> {
    if scheme.is_some_and(Scheme::publishes_keys) && !section.has("secrets") {
        let message = "missing; expected `keys = {}` to fetch the keys that the provider \
                       publishes, or `secrets` with one of these keys";
        section.wrong("secrets", message);
        return None;
    }
    Some(read_keys(section, inputs, warnings))
}

fn read_allow_published(section: &Section<'_>, warnings: &Report) -> bool {
    const KEY: &str = "insecure_allow_published_secrets";
    let allow_published = section.optional(KEY).unwrap_or(false);
    if allow_published {
        warnings.add(
            section.key_path(KEY),
            "secrets from public documentation are accepted, so any sender can forge deliveries; \
             use this for tests only",
        );
    }
    allow_published
}

/// Reports an empty array `secrets`. `read_keys` has reported every other reason for a missing key.
fn report_empty_secrets(section: &Section<'_>) {
    if has_no_secrets(section) {
        section.wrong(
            "secrets",
            "expected at least one secret; without one, no delivery can be verified",
        );
    }
}

fn has_no_secrets(section: &Section<'_>) -> bool {
    let items = section.raw().get("secrets").and_then(Value::as_array);
    items.is_some_and(Vec::is_empty)
}

/// Reports why the verifier cannot be built, at the key that caused it. `paths` are the paths of
/// the secrets.
fn report_build_error(error: BuildError, section: &Section<'_>, paths: &[String]) {
    match error {
        BuildError::Secret { index, error } => {
            section.report().add(&paths[index], error.to_string());
        }
        BuildError::KeyId { index } => section.report().add(
            format!("{}.id", paths[index]),
            "expected a unique id of 1 to 256 visible ASCII characters",
        ),
        BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => {
            section.wrong("url", error.to_string());
        }
        BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => {
            section.wrong("params", error.to_string());
        }
        BuildError::VariantUnknown { .. } => section.wrong("variant", error.to_string()),
        // The reader of `keys` has reported it.
        BuildError::KeysNotPublished => {}
        error => section.wrong("secrets", error.to_string()),
    }
}

/// Warns of keys outside their validity period.
fn warn_of_inactive(
    verifier: &Verifier,
    paths: &[String],
    section: &Section<'_>,
    warnings: &Report,
) {
    let active: Vec<usize> = verifier.active_keys(SystemClock.now()).collect();
    for (index, path) in paths.iter().enumerate() {
        if !active.contains(&index) {
            let message = "not active now: `not_before` is in the future, or `not_after` has \
                           passed";
            warnings.add(path, message);
        }
    }
    if active.is_empty() && !paths.is_empty() {
        let message = "no key is active now: every delivery gets a 503 response until one is";
        warnings.add(section.key_path("secrets"), message);
    }
}

/// Reads `url`, a text or a reference such as `env:NAME`.
pub(super) fn read_url(section: &Section<'_>, inputs: Inputs) -> Option<String> {
    let text = section.optional::<String>("url")?;
    match (inputs, SecretRef::parse(&text)) {
        // A text of another form is checked as a URL.
        (Inputs::Assumed, Some(_)) => Some("https://offline.invalid/".to_owned()),
        _ => read_text(section, "url", &text, inputs),
    }
}

/// Reads `params`, the values that the scheme needs besides secrets. A value is a text, or a
/// reference such as `env:NAME`.
pub(super) fn read_params(section: &Section<'_>, inputs: Inputs) -> Vec<(String, String)> {
    let Some(table) = section.section("params") else {
        return Vec::new();
    };
    let mut params = Vec::new();
    for (name, value) in table.raw() {
        let Some(text) = value.as_str() else {
            table.wrong(name, "expected a string, env:NAME or file:PATH");
            continue;
        };
        params.extend(read_text(&table, name, text, inputs).map(|text| (name.clone(), text)));
    }
    params
}

/// Returns `text`, or the text that it refers to, such as `env:NAME`. Returns `None` after
/// reporting a mistake.
fn read_text(section: &Section<'_>, key: &str, text: &str, inputs: Inputs) -> Option<String> {
    let Some(reference) = SecretRef::parse(text) else {
        return Some(text.to_owned());
    };
    let found = match reference.read_if(inputs) {
        Ok(secret) => secret.text().map(str::to_owned),
        Err(message) => {
            section.wrong(key, message);
            return None;
        }
    };
    if found.is_none() {
        section.wrong(key, "is not UTF-8; expected a UTF-8 text");
    }
    found
}
