//! The filters that `list` and `tail` share.

use clap::Args;

use crate::cli::api::with_query;

/// Which deliveries to print. All filters must match.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only deliveries of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// Only deliveries of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Only this outcome, such as forwarded or refused
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,

    /// Only this reason, such as signature_mismatch
    #[arg(long, value_name = "NAME")]
    reason: Option<String>,

    /// Only with this text in an id, type, path or address
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    /// Creates the filter for a text.
    pub(super) fn search(text: &str) -> Self {
        Self {
            search: Some(text.to_owned()),
            ..Self::default()
        }
    }

    /// Returns `path` with the filters and `more` as its query.
    pub(super) fn path(&self, path: &str, more: &[(&str, u64)]) -> String {
        let filters = [
            ("source", &self.source),
            ("tenant", &self.tenant),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("q", &self.search),
        ];
        let more: Vec<_> = more
            .iter()
            .map(|(name, n)| (*name, n.to_string()))
            .collect();
        let filters = filters.map(|(name, value)| (name, value.as_deref()));
        let more = more.iter().map(|(name, n)| (*name, Some(&**n)));
        with_query(path, filters.into_iter().chain(more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_has_each_filter_escaped() {
        let filter = Filter {
            source: Some("a b&limit=1#".to_owned()),
            outcome: Some(String::new()),
            search: Some("évt\r\n".to_owned()),
            ..Filter::default()
        };
        let path = filter.path("/api/deliveries", &[("limit", 5)]);
        assert_eq!(
            path,
            "/api/deliveries?source=a%20b%26limit%3D1%23&q=%C3%A9vt%0D%0A&limit=5"
        );
        assert_eq!(Filter::default().path("/api/stream", &[]), "/api/stream");
    }
}
