//! Parses `gateway.example.toml` with its comments, including the keys that are commented out.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// The text of the example.
const EXAMPLE: &str = include_str!("../../../gateway.example.toml");

/// A key of the configuration: a table or a value.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The comment above the key.
    pub(super) description: String,
    /// Whether the key is an array of tables.
    pub(super) is_list: bool,
    /// The example value. `None` for a table.
    pub(super) value: Option<Value>,
    /// The keys of a table. The key `*` stands for all keys that the operator chooses.
    pub(super) children: BTreeMap<String, Node>,
}

impl Node {
    /// Returns the node at `path`, and creates it if it is missing.
    fn at(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |node, key| {
            node.children.entry(key.clone()).or_default()
        })
    }

    /// Uses `comment` as the description, unless the node has one.
    fn describe(&mut self, comment: &mut Vec<&str>) {
        let text = std::mem::take(comment).join(" ");
        if self.description.is_empty() {
            self.description = text;
        }
    }
}

/// Returns the root table of the example.
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
                // The example shows an inline table twice if some keys exclude each other.
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

/// Parses a table header, and returns the path of the table and whether it is an array item.
fn header(line: &str) -> Option<(Vec<String>, bool)> {
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let array_item = inner
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let name = array_item.unwrap_or(inner);
    let is_name = |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return None;
    }
    let mut path: Vec<String> = name.split('.').map(str::to_owned).collect();
    if let [first, name, ..] = &mut *path
        && first == "upstreams"
    {
        "*".clone_into(name);
    }
    Some((path, array_item.is_some()))
}

/// Parses a key and its value. A value can continue on the following lines.
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
