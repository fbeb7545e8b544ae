//! Which records a list, a search or a stream shows.

use hookgate_gate::Reason;

use super::compact::CompactRecord;

/// The conditions that a record must meet. A condition that is absent holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) source: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: Option<String>,
    /// A text that occurs in one of the texts that [`Texts::searchable`](super::compact::Texts::searchable) names, in any case.
    pub(crate) text: Option<String>,
}

impl Filter {
    /// Returns whether there is no condition.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether `record` meets every condition.
    pub(crate) fn matches(&self, record: &CompactRecord) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let (facts, texts) = (&record.facts, record.texts());
        is(&self.source, record.source())
            && is(&self.tenant, texts.tenant)
            && is(&self.outcome, Some(facts.outcome.label()))
            && is(&self.reason, facts.reason.map(Reason::label))
            && self.text.as_deref().is_none_or(|wanted| {
                let mut searchable = texts.searchable(facts.client);
                searchable.any(|text| contains_ignoring_case(&text, wanted))
            })
    }
}

/// Returns whether `text` contains `part`. Upper and lower case of ASCII letters are equal, as in
/// the searches of SQLite.
fn contains_ignoring_case(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty()
        || text
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use hookgate_core::VerifyError;

    use super::*;
    use crate::inspector::compact::{Facts, RouteNames, Texts};
    use crate::inspector::record::ReplayKeys;
    use crate::telemetry::outcome::RequestOutcome;

    #[test]
    fn every_condition_must_hold() {
        let facts = Facts {
            outcome: RequestOutcome::Refused,
            reason: Some(Reason::Verify(VerifyError::SignatureMismatch)),
            ..Facts::default()
        };
        let names = RouteNames {
            source: "github".to_owned(),
            ..RouteNames::default()
        };
        let texts = Texts {
            request_id: "0a1b",
            delivery_id: Some("72D3162E".into()),
            ..Texts::default()
        };
        let record = CompactRecord::new(facts, Some(names.into()), &texts, ReplayKeys::new());
        let text = |text: &str| Some(text.to_owned());
        let matching = [
            Filter::default(),
            Filter {
                source: text("github"),
                ..Filter::default()
            },
            Filter {
                outcome: text("refused"),
                reason: text("signature_mismatch"),
                ..Filter::default()
            },
            Filter {
                text: text("72d3"),
                ..Filter::default()
            },
            Filter {
                text: text("A1"),
                ..Filter::default()
            },
        ];
        let others = [
            Filter {
                source: text("git"),
                ..Filter::default()
            },
            Filter {
                tenant: text("acme"),
                ..Filter::default()
            },
            Filter {
                outcome: text("forwarded"),
                source: text("github"),
                ..Filter::default()
            },
            Filter {
                text: text("github"),
                ..Filter::default()
            },
        ];
        for filter in matching {
            assert!(filter.matches(&record), "{filter:?}");
        }
        for filter in others {
            assert!(!filter.matches(&record), "{filter:?}");
        }
    }
}
