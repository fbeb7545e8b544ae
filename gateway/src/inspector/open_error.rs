//! Why the inspector cannot start.

use std::error::Error;
use std::fmt;

use super::capture::OpenCaptureDirError;
use super::history::OpenHistoryError;

/// Error of a file or folder of the inspector.
#[derive(Debug)]
pub(crate) enum OpenInspectorError {
    History(OpenHistoryError),
    CaptureDir(OpenCaptureDirError),
}

/// Writes the key of the configuration and the problem.
impl fmt::Display for OpenInspectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(error) => write!(f, "inspector.history: {error}"),
            Self::CaptureDir(error) => write!(f, "inspector.capture_dir: {error}"),
        }
    }
}

impl Error for OpenInspectorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::History(error) => error.source(),
            Self::CaptureDir(error) => error.source(),
        }
    }
}

impl From<OpenHistoryError> for OpenInspectorError {
    fn from(error: OpenHistoryError) -> Self {
        Self::History(error)
    }
}

impl From<OpenCaptureDirError> for OpenInspectorError {
    fn from(error: OpenCaptureDirError) -> Self {
        Self::CaptureDir(error)
    }
}
