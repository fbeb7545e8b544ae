//! Environment variables that set configuration keys, so that one file can be used in several
//! deployments.

use hookgate_core::internal::{Report, Table, Value, parse};
use hookgate_core::{Problem, Problems};

/// Prefix of the variables: `HOOKGATE__SERVER__ADMIN` sets `server.admin`.
const PREFIX: &str = "HOOKGATE__";
/// Tables whose keys a variable can set. `sources` is not among them: how a delivery is verified
/// and where it is forwarded must be visible in one file.
const TABLES: [&str; 6] = [
    "inspector",
    "limits",
    "queue",
    "replay",
    "server",
    "upstreams",
];

/// Merges the variables into `table`, and returns the keys that they set, in alphabetical order.
///
/// # Errors
///
/// Returns every variable whose name starts with the prefix and names no key.
pub(super) fn apply(
    table: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>, Problems> {
    let report = Report::default();
    let mut keys = Vec::new();
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path = path.to_ascii_lowercase();
        let path: Vec<&str> = path.split("__").collect();
        let is_known = path.first().is_some_and(|table| TABLES.contains(table));
        let is_key = path.len() >= 2 && path.iter().all(|part| !part.is_empty());
        if !is_known || !is_key || !insert(table, &path, parse_value(&text)) {
            report.add(
                name,
                format!(
                    "sets no configuration key; expected {PREFIX}TABLE__KEY, where TABLE is one \
                     of {}",
                    TABLES.join(", ")
                ),
            );
            continue;
        }
        keys.push(path.join("."));
    }
    keys.sort();
    report.finish(Some(keys))
}

/// Adds the name of the variable to each mistake in a value that came from a variable.
pub(super) fn name_variables(problems: Problems, keys: &[String]) -> Problems {
    problems.map(|problem| {
        let is_below = |key: &&String| {
            let rest = problem.at.strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let Some(key) = keys.iter().find(is_below) else {
            return problem;
        };
        let variable = key.to_ascii_uppercase().replace('.', "__");
        Problem {
            at: format!("{PREFIX}{variable} (sets {})", problem.at),
            message: problem.message,
        }
    })
}

/// Parses the text of a variable as a TOML value. A text that is no TOML value is a string, so
/// strings need no quotes.
fn parse_value(text: &str) -> Value {
    let line = format!("value = {text}");
    let table = parse(&line).ok();
    let value = table.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Sets `value` at `path`, and replaces an earlier value. Creates the tables on the way.
/// Returns false if one of these exists and is not a table, or if `path` is empty.
fn insert(table: &mut Table, path: &[&str], value: Value) -> bool {
    match path {
        [] => false,
        [key] => {
            table.insert((*key).to_owned(), value);
            true
        }
        [name, rest @ ..] => {
            let entry = table
                .entry((*name).to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            match entry {
                Value::Table(table) => insert(table, rest, value),
                _ => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(file: &str, variables: &[(&str, &str)]) -> Result<(Table, Vec<String>), Problems> {
        let mut table = parse(file).unwrap();
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let keys = apply(&mut table, variables.iter().map(owned))?;
        Ok((table, keys))
    }

    #[test]
    fn a_variable_sets_the_key_that_its_name_spells() {
        let file = "[server]\nadmin = \"127.0.0.1:9090\"\n[upstreams.app]\ntimeout = \"8s\"";
        let (table, keys) = applied(
            file,
            &[
                ("HOOKGATE__SERVER__ADMIN", "0.0.0.0:9090"),
                ("HOOKGATE__SERVER__LISTEN", "[\"a:1\", \"b:2\"]"),
                ("HOOKGATE__UPSTREAMS__APP__SERVERS", "[\"app:3000\"]"),
                ("HOOKGATE__LIMITS__CONNECTIONS", "5"),
                ("HOOKGATE__LIMITS__BODY", "64KiB"),
                ("HOOKGATE_LOG", "debug"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        let expected = "[server]\nadmin = \"0.0.0.0:9090\"\nlisten = [\"a:1\", \"b:2\"]\n\
             [upstreams.app]\ntimeout = \"8s\"\nservers = [\"app:3000\"]\n\
             [limits]\nconnections = 5\nbody = \"64KiB\"";
        assert_eq!(table, parse(expected).unwrap());
        assert_eq!(
            keys,
            [
                "limits.body",
                "limits.connections",
                "server.admin",
                "server.listen",
                "upstreams.app.servers"
            ]
        );
    }

    #[test]
    fn a_mistake_in_a_variable_is_reported_with_the_name_of_the_variable() {
        let keys = ["server.admin".to_owned(), "upstreams.app".to_owned()];
        for (at, expected) in [
            (
                "server.admin",
                "HOOKGATE__SERVER__ADMIN (sets server.admin)",
            ),
            (
                "upstreams.app.servers[0]",
                "HOOKGATE__UPSTREAMS__APP (sets upstreams.app.servers[0])",
            ),
            ("server.administrator", "server.administrator"),
        ] {
            let problem = name_variables(Problems::one(at, "wrong"), &keys)
                .iter()
                .next()
                .cloned();
            assert_eq!(problem.map(|problem| problem.at).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_variable_that_sets_no_key_is_a_mistake() {
        for name in [
            "HOOKGATE__",
            "HOOKGATE__SERVER",
            "HOOKGATE__SERVER__",
            "HOOKGATE__SOURCES__NAME",
            "HOOKGATE__SERVER__ADMIN__PORT",
        ] {
            let file = "[server]\nadmin = \"127.0.0.1:9090\"";
            let problems = applied(file, &[(name, "1")]).unwrap_err();
            let at: Vec<String> = problems.into_iter().map(|problem| problem.at).collect();
            assert_eq!(at, [name]);
        }
    }
}
