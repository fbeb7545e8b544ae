//! [`UnknownProvider`]: a name for which the catalogue has no scheme.

use std::error::Error;
use std::fmt;

use super::provider::Provider;
use super::undocumented::UndocumentedProvider;
use crate::suggestion::nearest;

/// The catalogue has no scheme for a name.
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownProvider {
    name: Box<str>,
    reason: Reason,
}

#[derive(Clone, PartialEq, Eq)]
enum Reason {
    /// The provider publishes no scheme. Holds the notes of its entry.
    Undocumented(Box<str>),
    /// The catalogue does not have the name, but this one.
    Misspelled(&'static str),
    Missing,
}

impl UnknownProvider {
    pub(super) fn new(name: &str) -> Self {
        let reason = match UndocumentedProvider::named(name) {
            Some(provider) => Reason::Undocumented(provider.notes().into()),
            None => match nearest(name, Provider::names()) {
                Some(nearest) => Reason::Misspelled(nearest),
                None => Reason::Missing,
            },
        };
        Self {
            name: name.into(),
            reason,
        }
    }
}

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        match reason {
            Reason::Undocumented(notes) => {
                write!(f, "{name} does not publish how it signs. {notes}")
            }
            Reason::Misspelled(nearest) => {
                write!(
                    f,
                    "{name:?} is not in the catalogue; did you mean {nearest:?}?"
                )
            }
            Reason::Missing => write!(
                f,
                "{name:?} is not in the catalogue; `hookgate providers` lists the names"
            ),
        }
    }
}

/// Shows the same as `Display`, because `main` prints its error with `Debug`.
impl fmt::Debug for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for UnknownProvider {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_what_to_do() {
        for (name, expected) in [
            (
                "strpie",
                "\"strpie\" is not in the catalogue; did you mean \"stripe\"?",
            ),
            (
                "acme-internal",
                "\"acme-internal\" is not in the catalogue; `hookgate providers` lists the names",
            ),
        ] {
            let error = Provider::named(name).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(format!("{error:?}"), expected);
        }
        let error = Provider::named("beaconed").unwrap_err().to_string();
        assert!(
            error.starts_with("beaconed does not publish how it signs. "),
            "{error}"
        );
    }
}
