//! [`ErrorChain`]: shows an error with all of its causes, on one line of a log.
//!
//! The errors of this workspace do not repeat their cause in their own text, so every log
//! and every message to the operator uses this type.

use std::error::Error;
use std::fmt;

/// Displays an error and every [`source`](Error::source) below it, separated by colons.
#[derive(Debug)]
pub struct ErrorChain<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        f.write_str(&text)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Some libraries repeat the cause in the text of the error.
            if !text.ends_with(&cause_text) {
                write!(f, ": {cause_text}")?;
            }
            text = cause_text;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    fn failed(text: &'static str, cause: Option<Failed>) -> Failed {
        Failed(text, cause.map(Box::new))
    }

    #[test]
    fn every_cause_of_an_error_is_shown_once() {
        let reset = || failed("connection reset", None);
        for (error, expected) in [
            (reset(), "connection reset"),
            (
                failed("cannot claim", Some(failed("cannot read", Some(reset())))),
                "cannot claim: cannot read: connection reset",
            ),
            (
                failed(
                    "cannot claim",
                    Some(failed("i/o: connection reset", Some(reset()))),
                ),
                "cannot claim: i/o: connection reset",
            ),
        ] {
            assert_eq!(ErrorChain(&error).to_string(), expected);
        }
    }
}
