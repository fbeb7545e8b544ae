//! Shows an error with all of its causes, on one line of the log.

use std::error::Error;
use std::fmt;

/// Displays an error and every [`source`](Error::source) below it, separated by colons.
pub(crate) struct ErrorChain<'e>(pub(crate) &'e (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use hookgate_http1::HeadError;

    use super::*;

    #[test]
    fn every_cause_of_an_error_is_shown() {
        let error = HeadError::Disconnected(io::ErrorKind::ConnectionReset.into());
        assert_eq!(
            ErrorChain(&error).to_string(),
            "the connection ended before the head did: connection reset"
        );
    }
}
