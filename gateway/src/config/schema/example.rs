use std::collections::BTreeMap;

use toml::{Table, Value};

/// The example, with its comments.
const EXAMPLE: &str = include_str!("../../../gateway.example.toml");

/// A key of the configuration: a table, or a value.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The comment above it.
    pub(super) description: String,
    /// Whether it is an array of tables.
    pub(super) is_list: bool,
    /// The first value, if it is none.
    pub(super) value: Option<Value>,
    /// By key; `*` for keys that the user chooses.
    pub(super) children: BTreeMap<String, Node>,
}

impl Node {
    fn at(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |node, key| {
            node.children.entry(key.clone()).or_default()
        })
    }

    fn describe(&mut self, comment: &mut Vec<&str>) {
        let text = std::mem::take(comment).join(" ");
        if self.description.is_empty() {
            self.description = text;
        }
    }
}

/// Every key of the example, those included that are commented out.
pub(super) fn read() -> Node {
    let mut root = Node::default();
    let mut path: Vec<String> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut lines = EXAMPLE.lines();
    while let Some(line) = lines.next() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some((table, is_list)) = header(bare) {
            path = table;
            let node = root.at(&path);
            node.is_list |= is_list;
            node.describe(&mut comment);
        } else if let Some((key, value)) = entry(bare, line, &mut lines) {
            let mut path = path.clone();
            path.push(key);
            let node = root.at(&path);
            node.describe(&mut comment);
            match (&mut node.value, value) {
                (None, value) => node.value = Some(value),
                // What cannot stand in one table is shown in two.
                (Some(Value::Table(first)), Value::Table(more)) => {
                    for (key, value) in more {
                        first.entry(key).or_insert(value);
                    }
                }
                (Some(_), _) => {}
            }
        } else if line.starts_with('#') {
            comment.push(bare.trim_start_matches('#'));
        } else {
            comment.clear();
        }
    }
    root
}

/// The path of a table, and whether there may be several of it.
fn header(line: &str) -> Option<(Vec<String>, bool)> {
    let single = line.strip_prefix('[')?.strip_suffix(']')?;
    let several = single
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let name = several.unwrap_or(single);
    let is_name = |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return None;
    }
    let mut path: Vec<String> = name.split('.').map(str::to_owned).collect();
    if let [first, chosen, ..] = &mut *path
        && first == "upstreams"
    {
        "*".clone_into(chosen);
    }
    Some((path, several.is_some()))
}

/// A key with its value, which may go on over further lines.
fn entry<'t>(
    bare: &str,
    line: &str,
    rest: &mut (impl Iterator<Item = &'t str> + Clone),
) -> Option<(String, Value)> {
    let (key, _) = bare.split_once(" = ")?;
    let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !key.bytes().all(is_key) {
        return None;
    }
    let is_commented_out = bare.len() != line.len();
    let mut text = bare.to_owned();
    let mut ahead = rest.clone();
    loop {
        if let Ok(mut table) = text.parse::<Table>() {
            *rest = ahead;
            return Some((key.to_owned(), table.remove(key)?));
        }
        let next = ahead.next().filter(|_| !is_commented_out)?;
        text.push('\n');
        text.push_str(next);
    }
}
