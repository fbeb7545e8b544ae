//! Reads the files that `include` names: more sources and upstreams.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hookgate_core::internal::{Report, Table, Value, parse};
use hookgate_core::{Problem, Problems};

use super::place;

/// The included files, and the origin of each source and each upstream in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Includes {
    /// The file with the key `include`.
    main: PathBuf,
    /// The files, and the folders whose entries decide about the files.
    pub(super) watched: Vec<PathBuf>,
    /// Patterns that match no file.
    pub(super) warnings: Vec<Problem>,
    /// The content of each included file.
    contents: Vec<Content>,
    /// The origin of each source, by its key path in the merged table.
    sources: BTreeMap<String, Origin>,
    /// The origin of each included upstream, by its name.
    upstreams: BTreeMap<String, Origin>,
}

/// An included file.
#[derive(Clone, Debug)]
struct Content {
    file: PathBuf,
    text: String,
    table: Table,
}

impl Content {
    /// Names the file, the line and the source of a mistake in this file.
    fn locate(&self, at: impl Into<String>, message: impl Into<String>) -> Problem {
        let (at, message) = (at.into(), message.into());
        place::in_file(Problem { at, message }, &self.file, &self.table, &self.text)
    }
}

/// Where a source or an upstream is in an included file.
#[derive(Clone, Debug)]
struct Origin {
    /// The position of the file in `contents`.
    content: usize,
    /// The key path in the file.
    at: String,
}

impl Includes {
    /// Merges the included files into `table`, the content of `main`. Relative paths start at the
    /// folder of `main`.
    ///
    /// # Errors
    ///
    /// Returns every mistake of the key `include` and of the included files.
    pub(super) fn expand(table: &mut Table, main: &Path) -> (Self, Result<(), Problems>) {
        let mut includes = Self {
            main: main.to_owned(),
            ..Self::default()
        };
        let folder = main.parent().unwrap_or(Path::new(""));
        let report = Report::default();
        for pattern in patterns(table.remove("include"), &report) {
            for file in includes.files(&folder.join(&pattern), &pattern, &report) {
                includes.watched.push(file.clone());
                includes.read(&file, table, &report);
            }
        }
        (includes, report.finish(Some(())))
    }

    /// Returns the files that a pattern names, in the order of their names.
    fn files(&mut self, path: &Path, shown: &str, report: &Report) -> Vec<PathBuf> {
        let name = path.file_name().and_then(|name| name.to_str());
        let folder = path.parent().unwrap_or(Path::new("."));
        let has_wildcard = |text: &str| text.contains('*');
        let (Some(name), false) = (name, has_wildcard(&folder.to_string_lossy())) else {
            report.add(
                "include",
                format!("{shown:?} has no file name, or `*` in a folder; expected FOLDER/*.toml"),
            );
            return Vec::new();
        };
        if !has_wildcard(name) {
            return vec![path.to_owned()];
        }
        // Adding and removing a file changes the folder.
        self.watched.push(folder.to_owned());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .is_some_and(|file| matches(name, file))
            })
            .map(|entry| entry.path())
            .filter(|file| file.is_file())
            .collect();
        files.sort();
        if files.is_empty() {
            self.warnings.push(Problem {
                at: "include".to_owned(),
                message: format!("no file matches {shown:?}; add one, or remove the pattern"),
            });
        }
        files
    }

    fn read(&mut self, file: &Path, table: &mut Table, report: &Report) {
        let shown = file.display();
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return report.add("include", format!("cannot read {shown}: {error}")),
        };
        let table_of_file = match parse(&text) {
            Ok(included) => included,
            Err(problems) => {
                for problem in problems {
                    report.add(format!("{shown}, {}", problem.at), problem.message);
                }
                return;
            }
        };
        let content = Content {
            file: file.to_owned(),
            text,
            table: table_of_file.clone(),
        };
        self.contents.push(content);
        for (key, value) in table_of_file {
            match (key.as_str(), value) {
                ("sources", Value::Array(sources)) => self.add_sources(sources, table, report),
                ("upstreams", Value::Table(upstreams)) => {
                    self.add_upstreams(upstreams, table, report);
                }
                ("include", _) => self.refuse(
                    key,
                    "an included file cannot include others; expected this key only in the file \
                     that the gateway starts with",
                    report,
                ),
                _ => self.refuse(
                    key,
                    "not allowed here; expected only [[sources]] and [upstreams.NAME] in an \
                     included file",
                    report,
                ),
            }
        }
    }

    /// Reports a mistake at the key path `at` of the file that was read last.
    fn refuse(&self, at: String, message: impl Into<String>, report: &Report) {
        if let Some(content) = self.contents.last() {
            let problem = content.locate(at, message);
            report.add(problem.at, problem.message);
        }
    }

    /// Returns the origin of the key path `at` of the file that was read last.
    fn origin(&self, at: String) -> Origin {
        let content = self.contents.len() - 1;
        Origin { content, at }
    }

    /// Names the place of a source or an upstream. Without an origin it is in the main file.
    fn place(&self, origin: Option<&Origin>) -> String {
        let Some(origin) = origin else {
            return self.main.display().to_string();
        };
        let content = &self.contents[origin.content];
        let file = content.file.display();
        match place::line(&content.text, &origin.at) {
            Some(line) => format!("{file}, line {line}"),
            None => file.to_string(),
        }
    }

    /// Adds the sources of the file that was read last.
    fn add_sources(&mut self, sources: Vec<Value>, table: &mut Table, report: &Report) {
        let all = table
            .entry("sources".to_owned())
            .or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(all) = all else {
            return;
        };
        for (index, source) in sources.into_iter().enumerate() {
            let at = format!("sources[{index}]");
            let name = |source: &Value| Some(source.get("name")?.as_str()?.to_owned());
            let same = name(&source).and_then(|own| {
                let same = all
                    .iter()
                    .position(|other| name(other).as_deref() == Some(&*own));
                Some((own, same?))
            });
            if let Some((name, other)) = same {
                let other = self.place(self.sources.get(&format!("sources[{other}]")));
                self.refuse(
                    format!("{at}.name"),
                    format!("{name:?} is also a source of {other}; expected a unique name"),
                    report,
                );
                continue;
            }
            let origin = self.origin(at);
            self.sources
                .insert(format!("sources[{}]", all.len()), origin);
            all.push(source);
        }
    }

    /// Adds the upstreams of the file that was read last.
    fn add_upstreams(&mut self, upstreams: Table, table: &mut Table, report: &Report) {
        let all = table
            .entry("upstreams".to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(all) = all else {
            return;
        };
        for (name, upstream) in upstreams {
            let at = format!("upstreams.{name}");
            if all.contains_key(&name) {
                let other = self.place(self.upstreams.get(&name));
                let message = format!("also an upstream of {other}; expected a unique name");
                self.refuse(at, message, report);
                continue;
            }
            self.upstreams.insert(name.clone(), self.origin(at));
            all.insert(name, upstream);
        }
    }

    /// Names the file, the line and the source of a problem in an included file.
    pub(super) fn locate(&self, problem: Problem) -> Problem {
        let sources = self.sources.iter().map(|(at, origin)| (at.clone(), origin));
        let upstreams = self.upstreams.iter();
        let upstreams = upstreams.map(|(name, origin)| (format!("upstreams.{name}"), origin));
        for (at, origin) in sources.chain(upstreams) {
            if let Some(rest) = problem.at.strip_prefix(&at)
                && (rest.is_empty() || rest.starts_with(['.', '[']))
            {
                let at = format!("{}{rest}", origin.at);
                return self.contents[origin.content].locate(at, problem.message);
            }
        }
        problem
    }
}

/// Returns the patterns of the key `include`: one text, or a list of texts.
fn patterns(value: Option<Value>, report: &Report) -> Vec<String> {
    let items = match value {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(item) => vec![item],
    };
    let mut patterns = Vec::new();
    for item in items {
        match item {
            Value::String(pattern) if !pattern.is_empty() => patterns.push(pattern),
            _ => report.add("include", "expected paths such as [\"sources/*.toml\"]"),
        }
    }
    patterns
}

/// Returns whether a file name matches a pattern in which `*` stands for any characters. Hidden
/// files match only a pattern that begins with a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("*.toml", "a.toml"),
            ("*.toml", "a.b.toml"),
            ("a*c*.toml", "abcd.toml"),
            ("*", "a"),
            (".*", ".a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.toml", ".a.toml"),
            ("*.toml", "a.toml~"),
            ("*.toml", "toml"),
            ("a*c*.toml", "ab.toml"),
            ("a*.toml", "b.toml"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
