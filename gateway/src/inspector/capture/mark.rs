//! The mark on a record that has a capture.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Serialize, Serializer};

/// The state of the capture of a record. It changes when the capture is removed.
#[derive(Clone, Default)]
pub(crate) struct CaptureMark(Option<(CaptureKind, Arc<AtomicBool>)>);

/// How much of a request a capture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaptureKind {
    /// The whole request.
    Complete,
    /// The request without the parts that a capture must not contain.
    Redacted,
    /// The request without the end of its body.
    Partial,
}

impl CaptureKind {
    /// Returns the value of the field `capture`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Redacted => "redacted",
            Self::Partial => "partial",
        }
    }
}

impl CaptureMark {
    /// Creates the mark of a capture that is kept.
    pub(super) fn new(kind: CaptureKind) -> Self {
        Self(Some((kind, Arc::new(AtomicBool::new(true)))))
    }

    /// Returns the kind of the capture, for as long as the capture is kept.
    pub(crate) fn get(&self) -> Option<CaptureKind> {
        let (kind, is_kept) = self.0.as_ref()?;
        is_kept.load(Ordering::Relaxed).then_some(*kind)
    }

    /// Whether there is no capture, or no more.
    pub(crate) fn is_none(&self) -> bool {
        self.get().is_none()
    }

    /// Marks the capture as removed, in every record that has this mark.
    pub(super) fn set_gone(&self) {
        if let Some((_, is_kept)) = &self.0 {
            is_kept.store(false, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for CaptureMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Serializes the name of the kind.
impl Serialize for CaptureMark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().map(CaptureKind::name).serialize(serializer)
    }
}
