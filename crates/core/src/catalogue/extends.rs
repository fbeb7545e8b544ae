//! Reads schemes, and merges a scheme into the provider that its key `extends` names.

use super::files;
#[cfg(feature = "toml")]
use crate::document::{Problems, Report, parse};
use crate::document::{Section, Table, Value};
use crate::scheme::Scheme;

#[cfg(feature = "toml")]
impl Scheme {
    /// Reads a scheme from the text of a TOML document.
    ///
    /// # Errors
    ///
    /// Returns every mistake, each with its key path and the expected value.
    ///
    /// ```
    /// use hookgate_core::Scheme;
    ///
    /// let scheme = Scheme::from_toml(r#"
    ///     alg = "hmac-sha256"
    ///     sig = { in = "header:x-partner-signature", prefix = "sha256=", enc = "hex" }
    ///     msg = "{body}"
    /// "#);
    /// assert!(scheme.is_ok());
    ///
    /// let mistake = Scheme::from_toml("alg = 'md5'").unwrap_err().to_string();
    /// assert!(mistake.contains("alg: expected one of hmac-sha1"), "{mistake}");
    /// assert!(mistake.contains("sig: missing"), "{mistake}");
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        let table = parse(text)?;
        let report = Report::default();
        let scheme = read_scheme(&Section::root(&table, &report));
        report.finish(scheme)
    }
}

/// Reads a scheme from a section of a larger document.
///
/// Returns `None` if there are mistakes; they are in the section's report.
pub fn read_scheme(section: &Section<'_>) -> Option<Scheme> {
    Scheme::read(section, &extended)
}

/// Returns the scheme table `own`, merged key by key into the scheme that it extends.
///
/// Returns `None` if that scheme is not in the catalogue.
pub(super) fn extended(own: &Table) -> Option<Table> {
    let Some(base) = own.get("extends").and_then(Value::as_str) else {
        return Some(own.clone());
    };
    let base = files::named(base)?.table.get("scheme")?.as_table()?;
    let mut table = extended(base)?;
    table.extend(own.clone());
    table.remove("extends");
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_inherits_the_keys_that_it_does_not_change() {
        let videogen = files::named("videogen").unwrap();
        let own = videogen.table["scheme"].as_table().unwrap();
        let table = extended(own).unwrap();
        assert_eq!(
            table.get("type").and_then(Value::as_str),
            Some("json:/event")
        );
        assert_eq!(
            table.get("msg").and_then(Value::as_str),
            Some("{id}.{ts}.{body}")
        );
    }
}
