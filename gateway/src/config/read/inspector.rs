//! Reads the table `[inspector]`.

use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::internal::{Report, Section};

use super::positive_duration;
use crate::config::values::{Host, Keyword, Name, RedactedValue, Size};
use crate::config::{
    AdminToken, CaptureConfig, CaptureScope, HistoryConfig, Inputs, InspectorAccess,
    InspectorConfig, InspectorStorage, Permission, SecretRef,
};

const DEFAULT_KEEP: usize = 10_000;
/// A record takes about 1 KiB, so this limit is about 1 GiB.
const MAX_KEEP: u64 = 1_000_000;
const DEFAULT_HISTORY_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
const DEFAULT_CAPTURE_FOR: Duration = Duration::from_secs(3600);
const DEFAULT_CAPTURE_BYTES: usize = 64 * 1024 * 1024;
/// A shorter token could be guessed.
const MIN_TOKEN: usize = 16;
const EXPECTED_TOKENS: &str =
    "expected `token` or at least one table with `name`, `from` and `may`";
/// The name of the token of the key `token`.
const SINGLE_TOKEN: &str = "token";

/// The table, and the default of the sources' `capture`.
pub(super) struct Inspector {
    pub(super) config: InspectorConfig,
    pub(super) capture: CaptureScope,
}

/// Reads the table, if it exists.
pub(super) fn read(root: &Section<'_>, inputs: Inputs, warnings: &Report) -> Option<Inspector> {
    let section = root.section("inspector")?;
    let access = InspectorAccess {
        tokens: read_tokens(&section, inputs),
        hosts: section
            .list("hosts")
            .into_iter()
            .map(|Host(host)| host)
            .collect(),
    };
    let keep = section.optional::<u64>("keep");
    if keep.is_some_and(|keep| !(1..=MAX_KEEP).contains(&keep)) {
        section.wrong("keep", format!("expected a number from 1 to {MAX_KEEP}"));
    }
    let keep = keep.and_then(|keep| usize::try_from(keep).ok());
    let capture = section
        .optional("capture")
        .map_or_else(CaptureScope::default, |Keyword(scope)| scope);
    let config = InspectorConfig {
        access,
        storage: InspectorStorage {
            keep: keep.unwrap_or(DEFAULT_KEEP),
            history: read_history(&section),
            capture_dir: section.optional::<String>("capture_dir").map(PathBuf::from),
        },
        capture: read_capture(&section),
    };
    section.deny_unknown();
    if capture == CaptureScope::All && config.storage.capture_dir.is_some() {
        warnings.add(
            section.key_path("capture"),
            "every delivery is written to disk with its body; use \"refused\", or a short \
             `capture_for`, outside of an investigation",
        );
    }
    Some(Inspector { config, capture })
}

fn read_tokens(section: &Section<'_>, inputs: Inputs) -> Vec<AdminToken> {
    let mut tokens = Vec::new();
    match (section.has("token"), section.has("tokens")) {
        (true, true) => section.wrong("token", "`token` and `tokens` are both set; expected one"),
        (false, false) => {
            section.wrong("tokens", format!("missing; {EXPECTED_TOKENS}"));
        }
        (true, false) => {
            tokens.extend(read_token(
                section,
                "token",
                SINGLE_TOKEN.to_owned(),
                Permission::Act,
                inputs,
            ));
        }
        (false, true) => {
            let tables = section.sections("tokens");
            if tables.is_empty() {
                section.wrong("tokens", EXPECTED_TOKENS);
            }
            for table in tables {
                tokens.extend(read_token_table(&table, &tokens, inputs));
            }
        }
    }
    tokens
}

/// Reads one table of `tokens`. `others` are the tokens before it.
fn read_token_table(
    table: &Section<'_>,
    others: &[AdminToken],
    inputs: Inputs,
) -> Option<AdminToken> {
    let name = table.required::<Name>("name").map(|Name(name)| name);
    let may = table.required("may").map(|Keyword(may)| may);
    if others
        .iter()
        .any(|other| Some(&other.name) == name.as_ref())
    {
        table.wrong("name", "used by another token; expected a unique name");
    }
    let may = may.unwrap_or(Permission::Read);
    let token = read_token(table, "from", name.unwrap_or_default(), may, inputs);
    table.deny_unknown();
    let token = token?;
    // The log could not say who has acted.
    let same = others.iter().find(|other| other.is_same_secret(&token));
    if let Some(other) = same.filter(|_| inputs.are_read()) {
        let other = &other.name;
        table.wrong(
            "from",
            format!("the token {other} has the same text; expected a token of its own"),
        );
    }
    Some(token)
}

fn read_token(
    section: &Section<'_>,
    key: &'static str,
    name: String,
    may: Permission,
    inputs: Inputs,
) -> Option<AdminToken> {
    let text = section.required::<String>(key)?;
    let Some(from) = SecretRef::parse(&text) else {
        section.wrong(key, format!("expected {}", SecretRef::EXPECTED));
        return None;
    };
    let read = match inputs {
        Inputs::Read => from.read_text(),
        Inputs::Assumed => Ok(vec![b'x'; MIN_TOKEN]),
    };
    match read {
        Ok(token) if token.len() < MIN_TOKEN => {
            section.wrong(
                key,
                format!(
                    "the token has {} bytes; expected at least {MIN_TOKEN}, such as the output \
                     of `openssl rand -hex 24`",
                    token.len()
                ),
            );
            None
        }
        Ok(token) if !token.iter().all(u8::is_ascii_graphic) => {
            section.wrong(
                key,
                "the token has a blank or a character outside of ASCII; expected visible ASCII",
            );
            None
        }
        Ok(token) => Some(AdminToken::new(name, from, &token, may)),
        Err(message) => {
            section.wrong(key, message);
            None
        }
    }
}

fn read_history(section: &Section<'_>) -> Option<HistoryConfig> {
    let keep_for = positive_duration(section, "history_for");
    let Some(path) = section.optional::<String>("history") else {
        if keep_for.is_some() {
            section.wrong(
                "history_for",
                "has no effect without `history`; remove this key",
            );
        }
        return None;
    };
    Some(HistoryConfig {
        path: path.into(),
        keep_for: keep_for.unwrap_or(DEFAULT_HISTORY_FOR),
    })
}

fn read_capture(section: &Section<'_>) -> CaptureConfig {
    CaptureConfig {
        keep_for: positive_duration(section, "capture_for").unwrap_or(DEFAULT_CAPTURE_FOR),
        max_bytes: section
            .optional("capture_bytes")
            .map_or(DEFAULT_CAPTURE_BYTES, |Size(size)| size.get()),
        redact: section
            .list("redact")
            .into_iter()
            .map(|RedactedValue(redaction)| redaction)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use crate::config::{CaptureScope, Config, Redaction};

    /// Reads a configuration with `lines` in the table `[inspector]`. Returns the mistakes.
    fn read(lines: &str) -> Result<Config, String> {
        let folder = TempDir::new().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "a-secret-of-the-tests-0123456789").unwrap();
        fs::write(folder.path().join("short"), "short").unwrap();
        let lines = lines.replace("DIR", folder.path().to_str().unwrap());
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\
             [inspector]\n{lines}\n[[sources]]\nname = \"a\"\npath = \"/a\"\n\
             provider = \"github\"\nsecrets = [\"file:{}\"]\nupstream = \"app\"\n",
            secret.display()
        );
        Config::parse(&text).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            problems.join("\n")
        })
    }

    #[test]
    fn the_table_is_read_with_its_defaults() {
        let config = read("token = \"file:DIR/secret\"").unwrap();
        let inspector = config.inspector.unwrap();
        assert_eq!(inspector.storage.keep, 10_000);
        assert_eq!(inspector.capture.max_bytes, 64 << 20);
        assert_eq!(config.routes[0].capture, CaptureScope::None);
        assert!(config.routes[0].setup.is_none());

        let config = read(
            "token = \"file:DIR/secret\"\ncapture = \"refused\"\nredact = [\"/a~1b\", \"X-Own\"]",
        );
        let config = config.unwrap();
        assert_eq!(config.routes[0].capture, CaptureScope::Refused);
        assert!(config.routes[0].setup.is_some());
        let redact = config.inspector.unwrap().capture.redact;
        let expected = [
            Redaction::Pointer("/a~1b".to_owned()),
            Redaction::Header("x-own".parse().unwrap()),
        ];
        assert_eq!(redact, expected);
    }

    #[test]
    fn mistakes_name_their_key() {
        for (lines, expected) in [
            ("", "inspector.tokens: missing"),
            (
                "token = \"file:DIR/short\"",
                "inspector.token: the token has 5 bytes",
            ),
            (
                "token = \"hidden-canary\"",
                "inspector.token: expected env:NAME or file:PATH",
            ),
            ("capture = \"some\"", "inspector.capture: expected"),
            ("capture_for = \"0s\"", "inspector.capture_for: "),
            ("keep = 0", "inspector.keep: expected a number from 1 to"),
            (
                "history_for = \"1d\"",
                "inspector.history_for: has no effect without `history`",
            ),
            (
                "redact = [\"/a~2\"]",
                "inspector.redact[0]: expected a header name, or a JSON pointer",
            ),
            (
                "redact = [\"a b\"]",
                "inspector.redact[0]: expected a header name",
            ),
            ("redacted = []", "inspector.redacted: unknown key"),
        ] {
            let problems = read(lines).unwrap_err();
            assert!(problems.contains(expected), "{expected}\n{problems}");
            assert!(!problems.contains("hidden-canary"), "{problems}");
        }
    }
}
