//! The tower layer and its builder methods.

use std::fmt;
use std::sync::Arc;

use hookgate_core::Secret;
use hookgate_gate::{Gate, Source, SourceError};
use hookgate_replay::{MemoryStore, ReplayStore};
use tower_layer::Layer;

use crate::hang_up::{Continuing, OnHangUp};
#[cfg(feature = "queue")]
use crate::queue::StoreDelivery;
use crate::refuse::ProblemJson;
use crate::resolve::{LiveSource, Resolve};
use crate::service::{Hookgate, Shared};

/// A layer that verifies deliveries in front of a service.
///
/// It is cheap to clone, and clones share their memory of events.
#[must_use = "a layer verifies nothing until it wraps a service, such as with `Router::route_layer`"]
pub struct HookgateLayer<V = LiveSource, S = MemoryStore, R = ProblemJson> {
    gate: Gate<S>,
    resolver: Arc<V>,
    refuse: Arc<R>,
    on_hang_up: OnHangUp,
    continuing: Continuing,
}

impl HookgateLayer {
    /// Creates a layer for the deliveries that a provider of the catalogue signs with `secret`.
    ///
    /// It is like [`new`](Self::new) with a source of [`Source::of_provider`], which also takes
    /// the provider's retry horizon and body limit from the catalogue.
    ///
    /// ```
    /// # use tower_hookgate::{HookgateLayer, Secret};
    /// # fn layer() -> Result<HookgateLayer, Box<dyn std::error::Error>> {
    /// let secret = Secret::from_env("STRIPE_SECRET")?;
    /// let layer = HookgateLayer::provider("stripe", secret)?;
    /// # Ok(layer)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Source::of_provider`].
    pub fn provider(name: &str, secret: Secret) -> Result<Self, SourceError> {
        Ok(Self::new(Source::of_provider(name, secret)?.build()))
    }

    /// Creates a layer for the deliveries of `source`: a [`Source`](crate::Source), or a
    /// [`LiveSource`], whose keys can change later.
    ///
    /// The layer remembers events in a [`MemoryStore`] of its own and refuses with
    /// [`ProblemJson`].
    pub fn new(source: impl Into<LiveSource>) -> Self {
        Self::resolving(source.into())
    }
}

impl<V: Resolve> HookgateLayer<V> {
    /// Creates a layer whose `resolver` finds the source of each request: [`Sources`] by
    /// path, or a closure. The rest is like [`new`](HookgateLayer::new).
    ///
    /// [`Sources`]: crate::Sources
    pub fn resolving(resolver: V) -> Self {
        Self {
            gate: Gate::new(MemoryStore::new()),
            resolver: Arc::new(resolver),
            refuse: Arc::new(ProblemJson),
            on_hang_up: OnHangUp::default(),
            continuing: Continuing::new(),
        }
    }
}

impl<V, S: ReplayStore, R> HookgateLayer<V, S, R> {
    /// Sets the store that remembers events. The layer uses the clock of the machine then.
    pub fn replay_store<T: ReplayStore>(self, store: T) -> HookgateLayer<V, T, R> {
        self.gate(Gate::new(store))
    }

    /// Sets the gate, with its store and its clock. Several layers can share one gate.
    pub fn gate<T: ReplayStore>(self, gate: Gate<T>) -> HookgateLayer<V, T, R> {
        HookgateLayer {
            gate,
            resolver: self.resolver,
            refuse: self.refuse,
            on_hang_up: self.on_hang_up,
            continuing: self.continuing,
        }
    }

    /// Sets how the layer responds to refused deliveries; see [`Refuse`](crate::Refuse).
    pub fn refuse_with<T>(self, refuse: T) -> HookgateLayer<V, S, T> {
        HookgateLayer {
            gate: self.gate,
            resolver: self.resolver,
            refuse: Arc::new(refuse),
            on_hang_up: self.on_hang_up,
            continuing: self.continuing,
        }
    }

    /// Completes when no call continues after its sender disconnected; see
    /// [`OnHangUp::Finish`].
    ///
    /// Await this after the graceful shutdown of the server, on the layer or on a clone of it. The
    /// server waits for the calls whose senders are still connected.
    ///
    /// A handler that hangs never finishes. To wait for a limited time, drop the future, as
    /// [`tokio::time::timeout`] does: the calls go on until the runtime ends. A call that is cut off
    /// then releases its claim, or keeps it until its lease has ended, so the sender's retry reaches
    /// the next process.
    pub async fn finished(&self) {
        self.continuing.finished().await;
    }

    /// Sets what happens to a call whose response is no longer awaited.
    pub fn on_hang_up(mut self, on_hang_up: OnHangUp) -> Self {
        self.on_hang_up = on_hang_up;
        self
    }
}

impl<V, S, R> HookgateLayer<V, S, R> {
    /// Creates the service around `inner`.
    pub(crate) fn service<I>(
        &self,
        inner: I,
        #[cfg(feature = "queue")] queue: Option<Arc<dyn StoreDelivery<S>>>,
    ) -> Hookgate<I, V, S, R> {
        let Self {
            gate,
            resolver,
            refuse,
            on_hang_up,
            continuing,
        } = self.clone();
        Hookgate {
            inner,
            shared: Arc::new(Shared {
                gate,
                resolver,
                refuse,
                on_hang_up,
                continuing,
                #[cfg(feature = "queue")]
                queue,
            }),
        }
    }

    /// Returns the gate and the resolver, which the workers of a queue share.
    #[cfg(feature = "queue")]
    pub(crate) fn gate_and_resolver(&self) -> (Gate<S>, Arc<V>) {
        (self.gate.clone(), Arc::clone(&self.resolver))
    }
}

impl<V, S, R, I> Layer<I> for HookgateLayer<V, S, R> {
    type Service = Hookgate<I, V, S, R>;

    fn layer(&self, inner: I) -> Self::Service {
        self.service(
            inner,
            #[cfg(feature = "queue")]
            None,
        )
    }
}

impl<V, S, R> Clone for HookgateLayer<V, S, R> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            resolver: Arc::clone(&self.resolver),
            refuse: Arc::clone(&self.refuse),
            on_hang_up: self.on_hang_up,
            continuing: self.continuing.clone(),
        }
    }
}

impl<V: fmt::Debug, S, R> fmt::Debug for HookgateLayer<V, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookgateLayer")
            .field("resolver", &self.resolver)
            .field("on_hang_up", &self.on_hang_up)
            .finish_non_exhaustive()
    }
}
