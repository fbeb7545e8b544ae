use std::fmt;
use std::sync::Arc;

use hookgate_gate::{Gate, Source};
use hookgate_replay::{MemoryStore, ReplayStore};
use tower_layer::Layer;

use crate::refuse::ProblemJson;
use crate::service::Hookgate;

/// Verifies the deliveries of one [`Source`] in front of a service.
///
/// Cheap to clone; clones share the memory of what was delivered.
pub struct HookgateLayer<S = MemoryStore, R = ProblemJson> {
    gate: Gate<S>,
    source: Arc<Source>,
    refuse: Arc<R>,
}

impl HookgateLayer {
    /// A layer for `source` that remembers deliveries in a [`MemoryStore`] of
    /// its own and refuses with [`ProblemJson`].
    pub fn new(source: Source) -> Self {
        Self {
            gate: Gate::new(MemoryStore::new()),
            source: Arc::new(source),
            refuse: Arc::new(ProblemJson),
        }
    }
}

impl<S: ReplayStore, R> HookgateLayer<S, R> {
    /// Remembers deliveries in `store`, and takes the time from the machine.
    #[must_use]
    pub fn replay_store<T: ReplayStore>(self, store: T) -> HookgateLayer<T, R> {
        self.gate(Gate::new(store))
    }

    /// Uses `gate`, with its store and its clock. It may be that of other layers.
    #[must_use]
    pub fn gate<T: ReplayStore>(self, gate: Gate<T>) -> HookgateLayer<T, R> {
        HookgateLayer {
            gate,
            source: self.source,
            refuse: self.refuse,
        }
    }

    /// Makes the responses to refused deliveries with `refuse`; see
    /// [`Refuse`](crate::Refuse).
    #[must_use]
    pub fn refuse_with<T>(self, refuse: T) -> HookgateLayer<S, T> {
        HookgateLayer {
            gate: self.gate,
            source: self.source,
            refuse: Arc::new(refuse),
        }
    }
}

impl<S, R, I> Layer<I> for HookgateLayer<S, R> {
    type Service = Hookgate<I, S, R>;

    fn layer(&self, inner: I) -> Self::Service {
        let Self {
            gate,
            source,
            refuse,
        } = self.clone();
        Hookgate {
            inner,
            gate,
            source,
            refuse,
        }
    }
}

impl<S, R> Clone for HookgateLayer<S, R> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            source: Arc::clone(&self.source),
            refuse: Arc::clone(&self.refuse),
        }
    }
}

impl<S, R> fmt::Debug for HookgateLayer<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookgateLayer")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
