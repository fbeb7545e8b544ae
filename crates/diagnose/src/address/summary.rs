//! The texts of a cause that is another address.

use std::fmt::Write;

use super::url::{Address, Part};
use crate::cause::{Cause, Code};
use crate::setup::Setup;

/// The address that the provider signed, and the address that was verified.
pub(super) struct Mismatch<'a> {
    pub(super) setup: &'a Setup,
    pub(super) signed: &'a Address,
    pub(super) verified: &'a Address,
    /// The parts that differ.
    pub(super) parts: &'a [Part],
}

impl Mismatch<'_> {
    pub(super) fn cause(&self) -> Cause {
        Cause::new(Code::UrlMismatch, self.summary()).with_fix(self.fix())
    }

    fn summary(&self) -> String {
        let (signed, verified) = (self.signed, self.verified);
        let origin = match &self.setup.url {
            Some(_) => "is configured",
            None if self.setup.scheme.needs_url() => {
                return format!("no URL is configured, and the provider signed `{signed}`");
            }
            None => "was requested",
        };
        if let [Part::User] = self.parts {
            let presence = match signed.user {
                Some(_) => "with a user and a password, but it is configured without them",
                None => "without a user and a password, but it is configured with them",
            };
            return format!("the provider signed the URL `{signed}` {presence}");
        }
        let mut summary = format!(
            "the provider signed `{signed}`, but `{verified}` {origin}: {}",
            self.parts()
        );
        // Values of a query are not shown, so that two queries can look alike.
        if signed.to_string() == verified.to_string() {
            summary.push_str(" in its values or in their percent-encoding");
        }
        summary
    }

    fn fix(&self) -> String {
        let Self { signed, setup, .. } = self;
        match self.parts {
            [Part::Query] if setup.url.is_some() => {
                "forward the query of the request unchanged, and configure the URL exactly as it \
                 is entered at the provider"
                    .to_owned()
            }
            _ => {
                let user = match signed.user {
                    Some(_) => ", with the user and the password that are entered at the provider",
                    None => "",
                };
                format!("configure `url = \"{signed}\"`{user}")
            }
        }
    }

    /// Returns the parts that differ, as the end of a sentence.
    fn parts(&self) -> String {
        let mut text = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index + 1 == self.parts.len() => " and ",
                _ => ", ",
            };
            let _ = write!(text, "{separator}the {part}");
        }
        let verb = match self.parts.len() {
            1 => "differs",
            _ => "differ",
        };
        format!("{text} {verb}")
    }
}
