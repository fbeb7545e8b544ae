//! Reads where the secrets of the tenants of a source are.

use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::MAX_KEYS;
use hookgate_core::internal::{Report, Section, Table, Value};
use hookgate_keys::Address;

use super::positive_duration;
use crate::config::Inputs;
use crate::config::secrets::TENANT;
use crate::config::secrets::{SecretRef, item_path, read_item, secret_items};
use crate::config::tenants::{ResolverConfig, TenantFile, TenantSecrets, with_tenant};

const DEFAULT_TTL: Duration = Duration::from_secs(60);
const MIN_TTL: Duration = Duration::from_secs(1);
const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_secs(5);
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);
/// A name that stands for every tenant while the configuration is checked.
pub(super) const SAMPLE: &str = "tenant";

/// Reads `secrets` of a source whose path has `{tenant}`.
pub(super) fn read(
    section: &Section<'_>,
    inputs: Inputs,
    warnings: &Report,
) -> Option<TenantSecrets> {
    if section.has("keys") {
        section.wrong(
            "keys",
            "all tenants would share the keys of the provider, so a delivery to one tenant would \
             verify for every other; expected `secrets` with {tenant}, or a path without {tenant}",
        );
        return None;
    }
    let items = secret_items(section)?;
    let resolvers = items.iter().filter(|item| resolver(item).is_some()).count();
    let is_too_long = items.len() > MAX_KEYS;
    if items.is_empty() || is_too_long || (resolvers > 0 && items.len() > 1) {
        section.wrong(
            "secrets",
            format!(
                "expected one to {MAX_KEYS} files with {{tenant}} in their path, or one table with \
                 `resolve`"
            ),
        );
        return None;
    }
    if let Some(table) = resolver(&items[0]) {
        let path = item_path(section, 0);
        let table = Section::at_path(&path, table, section.report());
        return read_resolver(&table, inputs, warnings).map(TenantSecrets::Resolver);
    }
    let files = items.iter().enumerate();
    let files: Vec<_> = files
        .map(|(index, item)| read_file(section, index, item, inputs))
        .collect();
    let files: Option<Vec<TenantFile>> = files.into_iter().collect();
    files.map(TenantSecrets::Files)
}

/// Returns the table, if an item of `secrets` is a resolver.
fn resolver(item: &Value) -> Option<&Table> {
    item.as_table()
        .filter(|table| table.contains_key("resolve"))
}

fn read_file(
    section: &Section<'_>,
    index: usize,
    item: &Value,
    inputs: Inputs,
) -> Option<TenantFile> {
    let key = read_item(section, index, item)?;
    let wrong = |message: String| section.report().add(key.reference_path(), message);
    let SecretRef::File(path) = &key.reference else {
        wrong(
            "an environment variable cannot depend on the tenant; expected \
             file:DIRECTORY/{tenant}, or a table with `resolve`"
                .to_owned(),
        );
        return None;
    };
    let Some((directory, name)) = split(path) else {
        wrong(
            "expected a file with {tenant} once in its path, below a directory, such as \
             file:/etc/hookgate/tenants/{tenant}; `*` and other braces are refused"
                .to_owned(),
        );
        return None;
    };
    let directory = PathBuf::from(directory);
    if inputs.are_read()
        && let Err(error) = std::fs::read_dir(&directory)
    {
        wrong(format!(
            "cannot open the directory {}: {error}; expected the directory of the files of all \
             tenants",
            directory.display()
        ));
        return None;
    }
    Some(TenantFile {
        directory,
        name: name.to_owned(),
        key,
    })
}

/// Splits a path into its directory and the part that depends on the tenant.
fn split(path: &str) -> Option<(&str, &str)> {
    let variable = path.find(TENANT)?;
    let rest = path.replacen(TENANT, "", 1);
    let slash = path[..variable].rfind('/')?;
    let (directory, name) = match slash {
        0 => ("/", &path[1..]),
        _ => (&path[..slash], &path[slash + 1..]),
    };
    let is_sound = !rest.contains(['{', '}', '*'])
        && name
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."));
    is_sound.then_some((directory, name))
}

fn read_resolver(table: &Section<'_>, inputs: Inputs, warnings: &Report) -> Option<ResolverConfig> {
    let url = table.required::<String>("resolve");
    let url = url.filter(|url| check_url(url, table, warnings));
    let ttl = positive_duration(table, "ttl").unwrap_or(DEFAULT_TTL);
    let negative_ttl = table
        .optional("negative_ttl")
        .unwrap_or(DEFAULT_NEGATIVE_TTL);
    let timeout = positive_duration(table, "timeout").unwrap_or(DEFAULT_TIMEOUT);
    // An answer counts from the time of its request, and must still count when it arrives.
    if !ttl.is_zero() && ttl < MIN_TTL {
        table.wrong("ttl", format!("expected at least {MIN_TTL:?}"));
    }
    let token = match table.optional::<String>("token") {
        None => Some(None),
        Some(text) => match SecretRef::parse(&text) {
            None => {
                table.wrong("token", format!("expected {}", SecretRef::EXPECTED));
                None
            }
            Some(reference) => match reference.read_if(inputs) {
                Ok(token) if token.text().is_some_and(is_token) => Some(Some(token)),
                Ok(_) => {
                    table.wrong("token", "expected visible ASCII characters");
                    None
                }
                Err(message) => {
                    table.wrong("token", message);
                    None
                }
            },
        },
    };
    table.deny_unknown();
    Some(ResolverConfig {
        url: url?,
        ttl,
        negative_ttl,
        timeout,
        token: token?,
    })
}

/// Checks that `url` is an address with `{tenant}` once in its path or its query.
fn check_url(url: &str, table: &Section<'_>, warnings: &Report) -> bool {
    let address = Address::parse(&with_tenant(url, SAMPLE));
    let has_tenant_below = Address::parse(url).is_some();
    let rest = url.replacen(TENANT, "", 1);
    let is_sound = has_tenant_below && rest.len() < url.len() && !rest.contains(['{', '}', '*']);
    let Some(address) = address.filter(|_| is_sound) else {
        table.wrong(
            "resolve",
            "expected an address with {tenant} once in its path or its query, such as \
             \"http://127.0.0.1:9000/secrets/{tenant}\"",
        );
        return false;
    };
    let is_local = address
        .host()
        .parse::<std::net::IpAddr>()
        .map_or(address.host() == "localhost", |ip| ip.is_loopback());
    if !address.is_tls() && !is_local {
        warnings.add(
            table.key_path("resolve"),
            "the secrets of all tenants travel over plain HTTP, where others can read and replace \
             them; use https, or a resolver on this machine",
        );
    }
    true
}

fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
