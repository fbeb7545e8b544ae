//! Why a capture cannot be read.

use std::borrow::Cow;
use std::error::Error;
use std::{fmt, io};

/// Why a capture cannot be read: the place in the file, and the fault there.
///
/// No message contains the value of a header or a part of the body.
#[derive(Debug)]
pub struct CaptureError {
    /// Such as `line 3`, or empty for the whole file.
    place: String,
    problem: Cow<'static, str>,
    source: Option<io::Error>,
}

impl CaptureError {
    pub(super) fn new(problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            place: String::new(),
            problem: problem.into(),
            source: None,
        }
    }

    /// Creates the error for a line. The first line has the number 1.
    pub(super) fn at_line(number: usize, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(problem).within(&format!("line {number}"))
    }

    /// Creates the error for a file that the system cannot read.
    pub(super) fn unreadable(error: io::Error) -> Self {
        Self {
            source: Some(error),
            ..Self::new("cannot be read")
        }
    }

    /// Puts `place` in front of the place of the error.
    pub(super) fn within(mut self, place: &str) -> Self {
        self.place = match self.place.as_str() {
            "" => place.to_owned(),
            // The position of an item follows the name of its array.
            inner if inner.starts_with('[') => format!("{place}{inner}"),
            inner => format!("{place}: {inner}"),
        };
        self
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.problem)
    }
}

impl Error for CaptureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_ref()?;
        Some(source)
    }
}
