//! The choice of one request of a file with several ones.

use http::Method;

use super::Entry;
use super::error::CaptureError;

/// Chooses a request: the one with the wanted number, or else the first POST, or the only one.
#[derive(Debug)]
pub(super) struct Selection<T> {
    wanted: Entry,
    count: usize,
    chosen: Option<T>,
    is_post: bool,
}

impl<T> Selection<T> {
    pub(super) fn new(wanted: Entry) -> Self {
        Self {
            wanted,
            count: 0,
            chosen: None,
            is_post: false,
        }
    }

    /// Considers the next request of the file.
    pub(super) fn offer(&mut self, method: &Method, request: T) {
        self.count += 1;
        let is_post = *method == Method::POST;
        let is_better = match self.wanted {
            Some(wanted) => wanted.get() == self.count,
            None => self.count == 1 || (is_post && !self.is_post),
        };
        if is_better {
            self.chosen = Some(request);
            self.is_post = is_post;
        }
    }

    /// Returns the chosen request.
    pub(super) fn finish(self) -> Result<T, CaptureError> {
        let is_ambiguous = self.wanted.is_none() && self.count > 1 && !self.is_post;
        let count = self.count;
        match self.chosen {
            Some(request) if !is_ambiguous => Ok(request),
            Some(_) => Err(CaptureError::new(format!(
                "{count} requests, and none of them is a POST; choose one by its number"
            ))),
            None if count == 0 => Err(CaptureError::new("the file has no request")),
            None => Err(CaptureError::new(format!(
                "the file has {count} requests; expected a number from 1 to {count}"
            ))),
        }
    }
}
