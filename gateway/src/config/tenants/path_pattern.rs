//! The path of a source: an exact path, or a path with the segment `{tenant}`.

use std::fmt;
use std::sync::Arc;

use hookgate_core::internal::{FromValue, Value};

use crate::config::secrets::TENANT;
use crate::config::values::RoutePath;

/// The longest name of a tenant.
const MAX_NAME: usize = 64;

/// The path of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PathPattern {
    text: Arc<str>,
    /// Where [`TENANT`] begins.
    tenant: Option<usize>,
}

impl PathPattern {
    /// Returns the text, in which `{tenant}` stands for every tenant.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether the path names a tenant.
    pub(crate) fn has_tenant(&self) -> bool {
        self.tenant.is_some()
    }

    /// Returns the tenant that `path` names. `None` if the path does not match, or if a segment
    /// in the position of the tenant is no name of a tenant.
    ///
    /// The path is compared byte for byte, without decoding. An encoded name is therefore no name.
    pub(crate) fn tenant_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let start = self.tenant?;
        let prefix = &self.text[..start];
        let suffix = &self.text[start + TENANT.len()..];
        let name = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
        is_tenant_name(name).then_some(name)
    }

    /// Returns whether one path can match both.
    pub(in crate::config) fn overlaps(&self, other: &Self) -> bool {
        let (mut segments, mut others) = (self.text.split('/'), other.text.split('/'));
        loop {
            let overlaps = match (segments.next(), others.next()) {
                (None, None) => return true,
                (Some(TENANT), Some(TENANT)) => true,
                (Some(TENANT), Some(name)) | (Some(name), Some(TENANT)) => is_tenant_name(name),
                (segment, other) => segment == other,
            };
            if !overlaps {
                return false;
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromValue for PathPattern {
    const EXPECTED: &'static str =
        "a path such as \"/hooks/beatapi\", or \"/hooks/{tenant}\" for a source with tenants";

    fn from_value(value: &Value) -> Result<Self, String> {
        let RoutePath(path) = RoutePath::from_value(value)?;
        let (tenants, others): (Vec<&str>, Vec<&str>) =
            path.split('/').partition(|segment| *segment == TENANT);
        others.into_iter().try_for_each(check_no_wildcards)?;
        if tenants.len() > 1 {
            return Err("has {tenant} twice; expected it in one segment".to_owned());
        }
        Ok(Self {
            tenant: path.find(TENANT),
            text: path.into(),
        })
    }
}

/// A path that is compared as a whole.
pub(in crate::config) struct ExactPath(pub(in crate::config) String);

impl FromValue for ExactPath {
    const EXPECTED: &'static str = RoutePath::EXPECTED;

    fn from_value(value: &Value) -> Result<Self, String> {
        let RoutePath(path) = RoutePath::from_value(value)?;
        if path.contains(['{', '}']) {
            return Err(
                "this path has no variables, so braces are refused; the upstream reads the tenant \
                 from the header hookgate-tenant; expected an exact path"
                    .to_owned(),
            );
        }
        check_no_wildcards(&path)?;
        Ok(Self(path))
    }
}

/// Returns whether `name` can be the name of a tenant: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
pub(crate) fn is_tenant_name(name: &str) -> bool {
    let first = name.as_bytes().first();
    first.is_some_and(u8::is_ascii_alphanumeric)
        && name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Refuses the characters that other programs use for variables and wildcards.
fn check_no_wildcards(text: &str) -> Result<(), String> {
    if text.contains(['{', '}']) {
        return Err(
            "the one variable of a path is {tenant}, as a whole segment such as \
             /hooks/{tenant}; expected such a path, or a path without braces"
                .to_owned(),
        );
    }
    if text.contains('*') {
        return Err(
            "a path has no wildcards, so `*` is refused; expected the exact path of one source, \
             or a path with {tenant}"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::from_value(&Value::String(text.to_owned())).expect("the path is valid")
    }

    #[test]
    fn a_name_has_1_to_64_plain_characters() {
        let longest = "a".repeat(64);
        for name in ["a", "7", "acme", "ACME", "a.b_c-d", "a..", longest.as_str()] {
            assert!(is_tenant_name(name), "{name}");
        }
        let too_long = "a".repeat(65);
        for name in [
            "",
            ".",
            "..",
            "..data",
            "-a",
            "_a",
            "..%2f",
            "%61",
            "a/b",
            "a b",
            "a\0",
            "é",
            "a;b",
            "a~",
            too_long.as_str(),
        ] {
            assert!(!is_tenant_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_path_names_a_tenant_byte_for_byte() {
        let hooks = pattern("/hooks/{tenant}/in");
        for (path, tenant) in [
            ("/hooks/acme/in", Some("acme")),
            ("/hooks/ACME/in", Some("ACME")),
            ("/hooks/a..b-c_d/in", Some("a..b-c_d")),
            ("/hooks/acme", None),
            ("/hooks/acme/in/", None),
            ("/hooks//in", None),
            ("/hooks/in", None),
            ("/hooks/./in", None),
            ("/hooks/../in", None),
            ("/hooks/..%2f/in", None),
            ("/hooks/%61cme/in", None),
            ("/hooks/a/b/in", None),
            ("/hooks/{tenant}/in", None),
            ("//hooks/acme/in", None),
        ] {
            assert_eq!(hooks.tenant_of(path), tenant, "{path}");
        }
        assert_eq!(pattern("/hooks").tenant_of("/hooks"), None);
        assert_eq!(pattern("/{tenant}").tenant_of("/in"), Some("in"));
    }

    #[test]
    fn a_brace_or_a_star_without_a_meaning_is_refused() {
        for path in [
            "/a/{tenant}x",
            "/a/x{tenant}",
            "/a/{tenants}",
            "/{tenant}/{tenant}",
            "/a/{",
            "/a/*",
        ] {
            let refused = PathPattern::from_value(&Value::String(path.to_owned()));
            assert!(refused.is_err(), "{path}");
        }
    }

    #[test]
    fn two_paths_overlap_if_one_path_can_match_both() {
        for (one, other, expected) in [
            ("/a/{tenant}", "/a/{tenant}", true),
            ("/a/{tenant}", "/a/b", true),
            ("/a/{tenant}/c", "/a/b/{tenant}", true),
            ("/a/{tenant}", "/{tenant}/b", true),
            ("/a/{tenant}", "/a/b/c", false),
            ("/a/{tenant}", "/a", false),
            ("/a/{tenant}", "/a/", false),
            ("/a/{tenant}", "/a/.b", false),
            ("/a/{tenant}", "/b/{tenant}", false),
            ("/a/{tenant}/c", "/a/{tenant}/d", false),
            ("/a", "/a", true),
        ] {
            let (first, second) = (pattern(one), pattern(other));
            assert_eq!(first.overlaps(&second), expected, "{one} {other}");
            assert_eq!(second.overlaps(&first), expected, "{other} {one}");
        }
    }
}
