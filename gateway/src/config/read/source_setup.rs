//! Reads one source for the commands that sign and verify.
//!
//! Those commands run on machines that have neither the secrets of the other sources nor the
//! certificates of the gateway, so no other table is checked.

use hookgate_core::internal::{Report, Section, Table, Value, nearest};
use hookgate_core::{Problems, Provider, Scheme, Window};

use super::sources::{self, CatalogueEntry};
use super::{tenants, verifier};
use crate::config::secrets::{ConfiguredKey, TENANT, read_items};
use crate::config::tenants::TenantSecrets;
use crate::config::{Inputs, listed};

/// How the deliveries of a source are signed. No secret has been read.
#[derive(Debug)]
pub(crate) struct SourceSetup {
    pub(crate) provider: Option<Provider>,
    pub(crate) scheme: Scheme,
    /// The window, if the scheme signs a timestamp.
    pub(crate) window: Option<Window>,
    /// The keys. The list is empty if the gateway fetches them, and if the source has tenants.
    pub(crate) keys: Vec<ConfiguredKey>,
    /// Where the keys of tenants are, if the source has some.
    pub(crate) tenants: Option<TenantSecrets>,
    /// The URL. With tenants, it has a variable for their name.
    pub(crate) url: Option<String>,
    pub(crate) variant: Option<String>,
    pub(crate) params: Vec<(String, String)>,
}

/// Reads the source `name`.
///
/// # Errors
///
/// Returns the mistakes of the source, or the names of the sources if none has this name.
pub(in crate::config) fn read(table: &Table, name: &str) -> Result<SourceSetup, Problems> {
    let report = Report::default();
    let root = Section::root(table, &report);
    let sections = root.sections("sources");
    let Some(section) = sections
        .iter()
        .find(|section| name_of(section) == Some(name))
    else {
        let names: Vec<&str> = sections.iter().filter_map(name_of).collect();
        let suggestion = nearest(name, names.iter().copied())
            .map(|nearest| format!(" (did you mean {nearest:?}?)"))
            .unwrap_or_default();
        let expected = match names.is_empty() {
            true => "a table [[sources]]".to_owned(),
            false => format!("one of {}", listed(&names)),
        };
        report.add(
            "",
            format!("no source has the name {name:?}{suggestion}; expected {expected}"),
        );
        return report.finish(None);
    };
    report.finish(read_section(section))
}

fn name_of<'t>(section: &Section<'t>) -> Option<&'t str> {
    section.raw().get("name").and_then(Value::as_str)
}

fn read_section(section: &Section<'_>) -> Option<SourceSetup> {
    let provider = sources::read_provider(section);
    let scheme = sources::read_source_scheme(section, provider.as_ref());
    let path = section.raw().get("path").and_then(Value::as_str);
    let (mut keys, mut tenants) = (Vec::new(), None);
    if path.is_some_and(|path| path.contains(TENANT)) {
        tenants = tenants::read(section, Inputs::Read, &Report::default());
    } else if !section.has("keys") {
        keys = read_items(section);
    }
    Some(SourceSetup {
        window: sources::read_window(section, scheme.as_ref()),
        keys,
        tenants,
        url: verifier::read_url(section, Inputs::Read),
        variant: section.optional("variant"),
        params: verifier::read_params(section, Inputs::Read),
        provider: match provider {
            Some(CatalogueEntry::Published(provider)) => Some(*provider),
            Some(CatalogueEntry::Undocumented(_)) | None => None,
        },
        scheme: scheme?,
    })
}
