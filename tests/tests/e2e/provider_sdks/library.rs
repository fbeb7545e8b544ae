//! The libraries to compare with, as `tests/provider_sdks/libraries.toml` lists them.

use std::collections::BTreeMap;
use std::fmt;

use hookgate_core::{Provider, Secret, Signer, Verifier};
use serde::{Deserialize, Deserializer};

const URL: &str = "https://hooks.example.com/in";
const JSON: &str = "application/json";
const BODY: &str =
    r#"{"id":"evt_5f0c8a6d","type":"invoice.paid","event":"paid","data":{"text":"plain"}}"#;

/// Where a library is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Registry {
    Npm,
    PyPi,
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Npm => "npm",
            Self::PyPi => "PyPI",
        })
    }
}

/// One library, and the provider whose deliveries it signs or verifies.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub registry: Registry,
    pub package: String,
    /// Whether the library can sign.
    pub signs: bool,
    /// Whether only `make drift` installs it.
    pub is_extra: bool,
    /// Whether a party other than the provider publishes it.
    pub is_third_party: bool,
    pub provider: Sender,
}

impl Library {
    /// Returns every library of the list.
    pub fn all() -> Vec<Self> {
        let list: List =
            toml::from_str(&data_file("libraries.toml")).expect("libraries.toml fits its types");
        let libraries_of = |sender: Sender| {
            let libraries = sender.libraries.clone();
            libraries.into_iter().map(move |row| {
                let (registry, package) = match (row.npm, row.pypi) {
                    (Some(package), None) => (Registry::Npm, package),
                    (None, Some(package)) => (Registry::PyPi, package),
                    _ => panic!("{}: a library has `npm` or `pypi`", sender.name),
                };
                Self {
                    registry,
                    package,
                    signs: row.signs,
                    is_extra: row.extra,
                    is_third_party: row.third,
                    provider: sender.clone(),
                }
            })
        };
        list.provider.into_iter().flat_map(libraries_of).collect()
    }

    /// Returns the name by which `differences.toml` refers to this library.
    pub fn name(&self) -> String {
        format!("{} {}", self.provider.name, self.registry)
    }
}

/// A provider with a secret and an example of its deliveries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sender {
    pub name: String,
    provider: Option<String>,
    pub variant: Option<String>,
    #[serde(deserialize_with = "text_or_file")]
    pub secret: String,
    #[serde(default, deserialize_with = "some_text_or_file")]
    private: Option<String>,
    /// A private key of another party, if a changed one would not be well-formed.
    #[serde(default, deserialize_with = "some_text_or_file")]
    other: Option<String>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    url: Option<String>,
    body: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub several: Option<(String, String)>,
    /// Whether the length of the signature differs from time to time.
    #[serde(default)]
    pub der: bool,
    libraries: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    provider: Vec<Sender>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    npm: Option<String>,
    pypi: Option<String>,
    #[serde(default)]
    signs: bool,
    #[serde(default)]
    extra: bool,
    #[serde(default)]
    third: bool,
}

impl Sender {
    /// Returns the entry of the catalogue.
    pub fn entry(&self) -> Provider {
        let name = self.entry_name();
        Provider::named(name).expect("the provider is in the catalogue")
    }

    pub fn entry_name(&self) -> &str {
        self.provider.as_deref().unwrap_or(&self.name)
    }

    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(URL)
    }

    pub fn body(&self) -> &str {
        self.body.as_deref().unwrap_or(BODY)
    }

    pub fn content_type(&self) -> &str {
        self.kind.as_deref().unwrap_or(JSON)
    }

    /// Returns the parameters of the scheme, as an operator sets them.
    pub fn scheme_params(&self) -> Vec<(String, String)> {
        let value = |name: &str| self.params.get(name).cloned();
        let entry = self.entry();
        let names = entry.scheme().params();
        names
            .map(|name| {
                let value = value(name).unwrap_or_else(|| "unused".to_owned());
                (name.to_owned(), value)
            })
            .collect()
    }

    /// Returns the verifier of an operator who has configured this provider.
    pub fn verifier(&self) -> Verifier {
        let secret = Secret::new(self.secret.clone()).expect("the secret is not empty");
        let entry = self.entry();
        let mut builder = Verifier::builder(entry.scheme())
            .key(secret)
            .url(self.url());
        for (name, value) in self.scheme_params() {
            builder = builder.param(name, value);
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        let built = builder.build();
        built.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Returns the text of the key that signs.
    pub fn signing_text(&self, key: SigningKey) -> String {
        let private = self.private.as_ref().unwrap_or(&self.secret);
        match (key, &self.other) {
            (SigningKey::Own, _) => private.clone(),
            (SigningKey::Other, Some(other)) => other.clone(),
            (SigningKey::Other, None) => other_secret(private),
        }
    }

    /// Returns a signer with the key of this provider, or with another key.
    pub fn signer(&self, key: SigningKey) -> Signer {
        let text = self.signing_text(key);
        let secret = Secret::new(text).expect("the secret is not empty");
        let entry = self.entry();
        let mut builder = Signer::builder(entry.scheme(), &secret).url(self.url());
        for (name, value) in self.scheme_params() {
            builder = builder.param(name, value);
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        let built = builder.build();
        built.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// Reads a text, or the file that it names after `file:`.
fn text_or_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(match text.strip_prefix("file:") {
        Some(name) => data_file(name),
        None => text,
    })
}

fn some_text_or_file<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    text_or_file(deserializer).map(Some)
}

/// Reads a file of `tests/provider_sdks`. A test reads these files when it runs, so that a change
/// of a list needs no build.
pub(super) fn data_file(name: &str) -> String {
    let path = format!("{}/provider_sdks/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The key with which a delivery is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SigningKey {
    Own,
    Other,
}

/// Returns another secret of the same form: four characters near the middle change places.
fn other_secret(secret: &str) -> String {
    let mut characters: Vec<char> = secret.chars().collect();
    let middle = characters.len() / 2;
    characters[middle - 2..middle + 2].rotate_left(1);
    let other: String = characters.into_iter().collect();
    assert_ne!(other, secret, "the characters in the middle are all equal");
    other
}
