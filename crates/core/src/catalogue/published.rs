//! Secrets that providers print in their documentation.

use std::sync::LazyLock;

use super::files;
use crate::document::Value;
use crate::secret::Secret;

/// Returns the secrets that the documentation of any provider prints.
///
/// A verifier refuses all of them, whatever its provider is: a provider that extends another
/// one accepts the secrets of that one, too.
pub(crate) fn published_secrets() -> &'static [Secret] {
    static SECRETS: LazyLock<Vec<Secret>> = LazyLock::new(|| {
        let secrets = files::all()
            .iter()
            .filter_map(|file| file.table.get("published_secrets"))
            .filter_map(Value::as_array)
            .flatten();
        secrets
            .filter_map(|text| Secret::new(text.as_str()?).ok())
            .collect()
    });
    &SECRETS
}
