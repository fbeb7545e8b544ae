//! The raw provider files, each as the TOML table that it holds.

use std::sync::LazyLock;

use toml::{Table, Value};

use crate::document::Problems;

/// The name and the text of every file under `providers/`, sorted by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// The kind of a provider file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The file has the scheme of the provider.
    Documented,
    /// The file says `unpublished = true`: the provider does not say how it signs.
    Undocumented,
}

/// One file of the catalogue, parsed.
#[derive(Debug)]
pub(super) struct ProviderFile {
    pub(super) name: &'static str,
    pub(super) table: Table,
}

impl ProviderFile {
    pub(super) fn kind(&self) -> FileKind {
        match self.table.get("unpublished").and_then(Value::as_bool) {
            Some(true) => FileKind::Undocumented,
            _ => FileKind::Documented,
        }
    }
}

/// Returns all files, sorted by name.
///
/// The first call parses them, because every verifier needs the published secrets of all.
///
/// # Panics
///
/// Panics if any file is not TOML. A test of this crate reads all files.
pub(super) fn all() -> &'static [ProviderFile] {
    static PARSED: LazyLock<Vec<ProviderFile>> = LazyLock::new(|| {
        let parse = |(name, text): &(&'static str, &str)| ProviderFile {
            name,
            table: text.parse().unwrap_or_else(|error| faulty(name, &error)),
        };
        FILES.iter().map(parse).collect()
    });
    &PARSED
}

/// Returns the file of the provider `name`.
pub(super) fn named(name: &str) -> Option<&'static ProviderFile> {
    let files = all();
    let index = files.binary_search_by_key(&name, |file| file.name).ok()?;
    Some(&files[index])
}

/// Reads the provider `name` from its file with `from_table`, if the file is of this kind.
///
/// # Panics
///
/// Panics if `from_table` finds a problem, or if any file is not TOML.
pub(super) fn read<T>(
    name: &str,
    kind: FileKind,
    from_table: impl FnOnce(&str, &Table) -> Result<T, Problems>,
) -> Option<T> {
    let file = named(name).filter(|file| file.kind() == kind)?;
    let provider = from_table(name, &file.table);
    Some(provider.unwrap_or_else(|problems| faulty(name, &problems)))
}

/// Returns the names of all files of this kind, sorted.
pub(super) fn names(kind: FileKind) -> impl Iterator<Item = &'static str> {
    let files = all().iter().filter(move |file| file.kind() == kind);
    files.map(|file| file.name)
}

/// Panics about a file of this crate that cannot be read.
fn faulty(name: &str, error: &dyn std::error::Error) -> ! {
    panic!("providers/{name}.toml of this crate is faulty: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_classified_by_its_parsed_content() {
        for (text, kind) in [
            ("unpublished = true", FileKind::Undocumented),
            ("unpublished=true", FileKind::Undocumented),
            ("unpublished = false", FileKind::Documented),
            ("notes = 'unpublished = true'", FileKind::Documented),
            ("# unpublished = true", FileKind::Documented),
        ] {
            let table = text.parse().unwrap();
            let file = ProviderFile { name: "a", table };
            assert_eq!(file.kind(), kind, "{text}");
        }
    }
}
