//! The listed differences between hookgate and the libraries, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::library::data_file;

/// A verdict.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Accepts,
    Refuses,
}

impl From<bool> for Verdict {
    fn from(accepted: bool) -> Self {
        if accepted {
            Self::Accepts
        } else {
            Self::Refuses
        }
    }
}

/// Two verdicts about one delivery.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// The name of the library.
    pub library: String,
    pub case: String,
    pub hookgate: Verdict,
    pub other: Verdict,
    /// The reasons of the party that refuses.
    pub reasons: String,
}

/// Deliveries about which hookgate and some libraries disagree, for one reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Difference {
    pub cases: Vec<String>,
    /// What hookgate does. The libraries do the opposite.
    pub hookgate: Verdict,
    pub why: String,
    pub libraries: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    difference: Vec<Difference>,
}

impl Difference {
    /// Returns every listed difference.
    pub fn all() -> Vec<Self> {
        let list: List = toml::from_str(&data_file("differences.toml"))
            .expect("differences.toml fits its types");
        list.difference
    }
}

/// Compares the verdicts with the `listed` differences. Returns a line for each difference that is
/// not listed, and for each listed difference that does not exist.
pub(super) fn unexpected(judged: &[Judged], listed: &[Difference]) -> Vec<String> {
    let mut expected: BTreeMap<(&str, &str), Verdict> = BTreeMap::new();
    let mut complaints = Vec::new();
    let compared: BTreeSet<&str> = judged.iter().map(|one| one.library.as_str()).collect();
    for difference in listed {
        for library in &difference.libraries {
            for case in &difference.cases {
                let key = (library.as_str(), case.as_str());
                if expected.insert(key, difference.hookgate).is_some() {
                    complaints.push(format!("{library}: {case}: listed twice"));
                }
            }
        }
    }
    for one in judged {
        let key = (one.library.as_str(), one.case.as_str());
        let listed = expected.remove(&key);
        let found = (one.hookgate != one.other).then_some(one.hookgate);
        if found == listed {
            continue;
        }
        complaints.push(match found {
            Some(_) => format!(
                "{}: {}: hookgate {:?}, the library {:?}, and this is not listed ({})",
                one.library, one.case, one.hookgate, one.other, one.reasons
            ),
            None => format!(
                "{}: {}: a difference is listed, but both say {:?}",
                one.library, one.case, one.hookgate
            ),
        });
    }
    let unused = expected
        .keys()
        .filter(|(library, _)| compared.contains(library));
    complaints.extend(unused.map(|(library, case)| {
        format!("{library}: {case}: a difference is listed, but there is no such case")
    }));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(hookgate: Verdict, other: Verdict) -> Judged {
        Judged {
            library: "stripe npm".to_owned(),
            case: "an empty body".to_owned(),
            hookgate,
            other,
            reasons: String::new(),
        }
    }

    fn listed(case: &str, hookgate: Verdict) -> Difference {
        Difference {
            cases: vec![case.to_owned()],
            hookgate,
            why: String::new(),
            libraries: vec!["stripe npm".to_owned()],
        }
    }

    #[test]
    fn a_difference_must_be_listed_and_a_listed_one_must_exist() {
        use Verdict::{Accepts, Refuses};
        let none = [];
        let refused = [listed("an empty body", Refuses)];
        let accepted = [listed("an empty body", Accepts)];
        let missing = [listed("a case that does not exist", Refuses)];
        let rows: [(_, &[Difference], usize); 6] = [
            (judged(Accepts, Accepts), &none, 0),
            (judged(Refuses, Accepts), &refused, 0),
            (judged(Refuses, Accepts), &none, 1),
            (judged(Refuses, Accepts), &accepted, 1),
            (judged(Refuses, Refuses), &refused, 1),
            (judged(Accepts, Accepts), &missing, 1),
        ];
        for (one, listed, complaints) in rows {
            let found = unexpected(std::slice::from_ref(&one), listed);
            assert_eq!(found.len(), complaints, "{one:?} {found:?}");
        }
    }
}
