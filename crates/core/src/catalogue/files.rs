//! The raw provider files, each as the table that it holds.
//!
//! The crate embeds them as JSON, so that it needs no parser of TOML.

use std::sync::LazyLock;

use crate::document::{Problems, Table, Value};

/// The content of every file under `providers/`, by its name. `make catalogue` writes this file.
const EMBEDDED: &str = include_str!("../../providers.json");

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
    pub(super) name: String,
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
/// Panics if the embedded text is no catalogue. A test of this crate reads it.
pub(super) fn all() -> &'static [ProviderFile] {
    static PARSED: LazyLock<Vec<ProviderFile>> = LazyLock::new(|| {
        let catalogue = serde_json::from_str(EMBEDDED)
            .ok()
            .and_then(Value::from_json);
        let Some(Value::Table(files)) = catalogue else {
            panic!("providers.json of this crate is no table");
        };
        let file = |(name, value)| match value {
            Value::Table(table) => ProviderFile { name, table },
            _ => panic!("{name} in providers.json of this crate is no table"),
        };
        files.into_iter().map(file).collect()
    });
    &PARSED
}

/// Returns the file of the provider `name`.
pub(super) fn named(name: &str) -> Option<&'static ProviderFile> {
    let files = all();
    let index = files.binary_search_by_key(&name, |file| &file.name).ok()?;
    Some(&files[index])
}

/// Reads the provider `name` from its file with `from_table`, if the file is of this kind.
///
/// # Panics
///
/// Panics if `from_table` finds a problem, or if the embedded text is no catalogue.
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
    files.map(|file| file.name.as_str())
}

/// Panics about a file of this crate that cannot be read.
fn faulty(name: &str, error: &dyn std::error::Error) -> ! {
    panic!("providers/{name}.toml of this crate is faulty: {error}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::document::parse;

    /// Returns the JSON of a value, with the keys of each table in alphabetical order.
    fn json(value: &Value) -> String {
        let joined = |items: Vec<String>| items.join(",");
        match value {
            Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Datetime(date) => panic!("{date}: JSON has no dates; write a string"),
            Value::Array(items) => format!("[{}]", joined(items.iter().map(json).collect())),
            Value::Table(table) => {
                let member = |(name, value): (&String, &Value)| {
                    format!("{}:{}", serde_json::Value::from(name.as_str()), json(value))
                };
                format!("{{{}}}", joined(table.iter().map(member).collect()))
            }
        }
    }

    /// Returns the embedded text that fits the files under `providers/`: a line for each.
    fn embedded_of(folder: &Path) -> String {
        let mut lines = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let table = parse(&fs::read_to_string(&path).unwrap());
            let table = table.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            lines.push(format!("{name:?}:{}", json(&Value::Table(table))));
        }
        lines.sort();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// With `HOOKGATE_WRITE_CATALOGUE`, writes the text instead.
    #[test]
    fn the_embedded_catalogue_has_the_content_of_the_provider_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let expected = embedded_of(&root.join("providers"));
        if std::env::var_os("HOOKGATE_WRITE_CATALOGUE").is_some() {
            fs::write(root.join("providers.json"), expected).unwrap();
            return;
        }
        let differs = EMBEDDED
            .lines()
            .zip(expected.lines())
            .find(|(embedded, expected)| embedded != expected);
        assert_eq!(differs, None, "run `make catalogue`");
        assert_eq!(EMBEDDED.len(), expected.len(), "run `make catalogue`");
    }

    #[test]
    fn a_file_is_classified_by_its_parsed_content() {
        for (text, kind) in [
            ("unpublished = true", FileKind::Undocumented),
            ("unpublished=true", FileKind::Undocumented),
            ("unpublished = false", FileKind::Documented),
            ("notes = 'unpublished = true'", FileKind::Documented),
            ("# unpublished = true", FileKind::Documented),
        ] {
            let file = ProviderFile {
                name: "a".to_owned(),
                table: parse(text).unwrap(),
            };
            assert_eq!(file.kind(), kind, "{text}");
        }
    }
}
