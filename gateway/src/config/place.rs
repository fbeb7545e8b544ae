//! Where a mistake is: its line, its source and its key.
//!
//! The readers report key paths such as `sources[37].window.past`. An operator knows a source by its
//! name, so messages have `line 412, source github: window.past` instead, with the file in front of it
//! if the file is an included one.

use std::path::Path;

use hookgate_core::internal::{Table, Value};
use hookgate_core::{Problem, Problems};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Names the line and the source of each mistake. `text` is the file that `table` was read from.
pub(super) fn of_mistakes(problems: Problems, table: &Table, text: &str) -> Problems {
    problems.map(|problem| of_mistake(problem, table, text))
}

fn of_mistake(problem: Problem, table: &Table, text: &str) -> Problem {
    let line = line(text, &problem.at).map(|line| format!("line {line}"));
    let problem = of_warning(problem, table);
    let at = match (line, problem.at.starts_with("source ")) {
        (None, _) => problem.at,
        (Some(line), true) => format!("{line}, {}", problem.at),
        (Some(line), false) => format!("{line}: {}", problem.at),
    };
    Problem { at, ..problem }
}

/// Names the file, the line and the source of a mistake in the file `path`.
pub(super) fn in_file(problem: Problem, path: &Path, table: &Table, text: &str) -> Problem {
    let problem = of_mistake(problem, table, text);
    let path = path.display();
    let at = match problem.at.starts_with("line ") {
        true => format!("{path}, {}", problem.at),
        false => format!("{path}: {}", problem.at),
    };
    Problem { at, ..problem }
}

/// Returns the line of the key path `at` in `text`.
pub(super) fn line(text: &str, at: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let offset = offset(document.get_ref(), at)?;
    Some(text[..offset.min(text.len())].matches('\n').count() + 1)
}

/// Names the source of a warning.
pub(super) fn of_warning(problem: Problem, table: &Table) -> Problem {
    let named = || {
        let (index, key) = problem.at.strip_prefix("sources[")?.split_once(']')?;
        let source = table
            .get("sources")?
            .as_array()?
            .get(index.parse::<usize>().ok()?)?;
        let name = source.get("name").and_then(Value::as_str);
        // A name with other characters is a mistake of its own, and could imitate a message.
        let name = name.filter(|name| {
            !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic())
        })?;
        Some(match key.strip_prefix('.') {
            Some(key) => format!("source {name}: {key}"),
            None => format!("source {name}"),
        })
    };
    match named() {
        Some(at) => Problem { at, ..problem },
        None => problem,
    }
}

/// Returns where the value of the key path `path` begins, or the deepest table on the way to it.
fn offset(table: &DeTable<'_>, path: &str) -> Option<usize> {
    // The name of an upstream can contain a dot, so the key is compared as a whole.
    let (key, value, rest) = table.iter().find_map(|(key, value)| {
        let rest = path.strip_prefix(key.get_ref().as_ref())?;
        (rest.is_empty() || rest.starts_with(['.', '['])).then_some((key, value, rest))
    })?;
    Some(below(value, rest).unwrap_or_else(|| key.span().start))
}

/// Returns where the value of `path` begins, which is a path below `value`.
fn below(value: &Spanned<DeValue<'_>>, path: &str) -> Option<usize> {
    if let Some(key) = path.strip_prefix('.') {
        return offset(value.get_ref().as_table()?, key);
    }
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    let index: usize = index.parse().ok()?;
    let item = value.get_ref().as_array()?.get(index)?;
    Some(below(item, rest).unwrap_or_else(|| item.span().start))
}

#[cfg(test)]
mod tests {
    use hookgate_core::internal::parse;

    use super::*;

    const TEXT: &str = "[server]\nlisten = [\n  \"a\",\n  \"b\",\n]\n\n[upstreams.\"my.app\"]\n\
                        servers = []\n\n[[sources]]\nname = \"one\"\n\n[[sources]]\npath = \"/\"\n\
                        name = \"two\"\nwindow = { past = \"1s\" }\n[sources.scheme]\nalg = \"x\"\n";

    #[test]
    fn a_mistake_has_its_line_and_the_name_of_its_source() {
        let table = parse(TEXT).unwrap();
        for (at, expected) in [
            ("server.listen[1]", "line 4: server.listen[1]"),
            ("server.admin", "line 1: server.admin"),
            (
                "upstreams.my.app.servers",
                "line 8: upstreams.my.app.servers",
            ),
            ("sources[0].secrets", "line 10, source one: secrets"),
            ("sources[1].window.past", "line 16, source two: window.past"),
            ("sources[1].scheme.alg", "line 18, source two: scheme.alg"),
            ("sources[1]", "line 13, source two"),
            ("replay", "replay"),
            ("", ""),
        ] {
            let placed = of_mistakes(Problems::one(at, "wrong"), &table, TEXT);
            let placed = placed.iter().next().map(|problem| problem.at.clone());
            assert_eq!(placed.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_source_without_a_sound_name_keeps_its_number() {
        for name in ["", "name = \"a\\nb\"", "name = 5"] {
            let text = format!("[[sources]]\n{name}\n");
            let table = parse(&text).unwrap();
            let problem = Problems::one("sources[0].path", "wrong");
            let placed = of_mistakes(problem, &table, &text).to_string();
            assert_eq!(placed, "line 1: sources[0].path: wrong");
        }
    }
}
