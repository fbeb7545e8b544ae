//! A source of deliveries: its name, its verifier and its policy.

mod builder;
mod dedupe;
mod error;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::{ignore_age, scope_number};
use hookgate_core::{
    Acknowledgement, EqualBytes, Provider, ReplayKey, ReplayScope, Secret, UnixTime, Variant,
    Verified, Verifier, VerifyError,
};
use hookgate_replay::{ClaimOptions, SourceQuota};
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use self::dedupe::DedupeRule;
use self::policy::{OnMismatch, Policy};
use crate::keys::KeyFetcher;
#[cfg(feature = "queue")]
use crate::queue::QueuePolicy;
use crate::refusal::Refusal;
use crate::success::SuccessResponse;

pub use self::builder::SourceBuilder;
pub use self::dedupe::Dedupe;
pub use self::error::SourceError;
pub use self::policy::{BodyLimit, DeliveryGuarantee, Mode, OnConflict, OnDuplicate};

/// A source of deliveries: the sender, how its deliveries verify, and the operator's policy
/// for them.
#[derive(Clone, Debug)]
pub struct Source {
    settings: Arc<Settings>,
    identity: Arc<Identity>,
}

/// The part of a source that all its tenants share.
#[derive(Clone, Debug)]
struct Settings {
    name: Arc<str>,
    provider: Option<Arc<str>>,
    dedupe: DedupeRule,
    /// The acknowledgement that the provider expects, if 200 without a body is not enough.
    acknowledgement: Option<Arc<Acknowledgement>>,
    /// Finds the keys of deliveries, if the provider publishes them.
    keys: Option<KeyFetcher>,
    policy: Policy,
}

/// The part of a source that each of its tenants has.
#[derive(Debug)]
struct Identity {
    tenant: Option<Arc<str>>,
    verifier: Verifier,
    scope: ReplayScope,
    /// Separates the entries of this source from those of others, for the quota.
    number: u64,
}

impl Identity {
    fn new(source: &str, tenant: Option<Arc<str>>, verifier: Verifier) -> Self {
        let names = [source, tenant.as_deref().unwrap_or_default()];
        let scope = ReplayScope::new(&names[..1 + usize::from(tenant.is_some())]);
        Self {
            number: scope_number(&scope),
            scope,
            tenant,
            verifier,
        }
    }
}

impl Source {
    /// Starts to build a source of deliveries that the catalogue's provider `provider` signs with
    /// `secret`. The source has the name of the provider.
    ///
    /// # Errors
    ///
    /// Returns [`SourceError`] if the catalogue has no scheme for the name, if the secret does not
    /// fit the scheme, or if the scheme needs more than a secret, such as the URL of the endpoint.
    /// Use [`Verifier::builder`] and [`builder`](Self::builder) for such a scheme.
    pub fn of_provider(provider: &str, secret: Secret) -> Result<SourceBuilder, SourceError> {
        let provider = Provider::named(provider)?;
        let verifier = Verifier::builder(provider.scheme()).key(secret).build();
        let verifier = verifier.map_err(|error| SourceError::Verifier {
            provider: provider.name().into(),
            error,
        })?;
        Ok(Self::builder(provider.name(), verifier).provider(&provider))
    }

    /// Starts to build a source called `name`.
    ///
    /// The name is part of every replay key: a source under a new name starts without any
    /// remembered event.
    pub fn builder(name: impl Into<Arc<str>>, verifier: Verifier) -> SourceBuilder {
        SourceBuilder::new(name.into(), verifier)
    }

    /// Returns the name of the source.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns the tenant of these deliveries, if one source serves several tenants.
    pub fn tenant(&self) -> Option<&str> {
        self.identity.tenant.as_deref()
    }

    /// Returns this source for the deliveries of one of its tenants, which `verifier` checks.
    ///
    /// The tenant is part of every replay key, so equal ids of two tenants are two events.
    #[must_use]
    pub fn for_tenant(&self, tenant: impl Into<Arc<str>>, verifier: Verifier) -> Self {
        let identity = Identity::new(self.name(), Some(tenant.into()), verifier);
        Self {
            settings: Arc::clone(&self.settings),
            identity: Arc::new(identity),
        }
    }

    /// Returns this source with the tenant of `other`, its verifier and its replay keys. Both sources
    /// have the same name.
    pub(crate) fn for_tenant_of(&self, other: &Self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            identity: Arc::clone(&other.identity),
        }
    }

    /// Returns whether the checks are enforced.
    pub fn mode(&self) -> Mode {
        self.settings.policy.mode
    }

    /// Returns the name of the provider in the catalogue, if the source has one.
    pub fn provider(&self) -> Option<&str> {
        self.settings.provider.as_deref()
    }

    /// Returns the verifier of this source's deliveries.
    pub fn verifier(&self) -> &Verifier {
        &self.identity.verifier
    }

    /// Returns the fetcher that finds the keys of deliveries, if the provider publishes them.
    #[cfg(feature = "keys")]
    pub fn keys(&self) -> Option<&KeyFetcher> {
        self.key_fetcher()
    }

    pub(crate) fn key_fetcher(&self) -> Option<&KeyFetcher> {
        self.settings.keys.as_ref()
    }

    /// Returns how long done events are remembered.
    pub fn retention(&self) -> Duration {
        self.settings.policy.retention
    }

    /// Returns how long a delivery in flight keeps other deliveries of its event out.
    pub fn lease(&self) -> Duration {
        self.settings.policy.lease
    }

    /// Returns how long the layer renews the lease of one call.
    pub fn max_run(&self) -> Duration {
        self.settings.policy.max_run
    }

    /// Returns the size limit of a body.
    pub fn body_limit(&self) -> BodyLimit {
        self.settings.policy.body_limit
    }

    /// Returns the time limit of a whole body.
    pub fn body_timeout(&self) -> Duration {
        self.settings.policy.body_timeout
    }

    /// Returns the guarantee for a delivery whose outcome is unknown.
    pub fn delivery_guarantee(&self) -> DeliveryGuarantee {
        self.settings.policy.guarantee
    }

    /// Returns the rule by which two deliveries are one event.
    pub fn dedupe(&self) -> Dedupe {
        self.settings.dedupe.dedupe
    }

    /// Returns the events that leave [`Dedupe::Content`], if the provider's facts decide that.
    pub fn equal_bytes(&self) -> Option<&EqualBytes> {
        self.settings.dedupe.exception()
    }

    /// Returns whether the operator turned duplicate detection off for every event.
    pub fn is_dedupe_off(&self) -> bool {
        self.settings.dedupe.is_off()
    }

    /// Returns whether at least some events are remembered when they are done.
    pub fn remembers_events(&self) -> bool {
        self.dedupe() != Dedupe::Off || self.refuses_replays()
    }

    /// Returns whether a replay of at least some events is refused.
    pub fn refuses_replays(&self) -> bool {
        match self.dedupe() {
            Dedupe::Content => true,
            Dedupe::DeliveryId | Dedupe::Off => {
                let verifier = &self.identity.verifier;
                let is_narrow = self.equal_bytes().is_some_and(EqualBytes::is_conditional);
                let signs_identity =
                    |variant: Variant<'_>| variant.signs_id() || variant.window().is_some();
                !self.is_dedupe_off() && (is_narrow || verifier.variants().any(signs_identity))
            }
        }
    }

    /// Returns the header with the unsigned delivery id, if the provider sends one.
    pub fn delivery_id_header(&self) -> Option<&HeaderName> {
        self.settings.dedupe.delivery_id()
    }

    /// Returns the queue of this source's deliveries.
    #[cfg(feature = "queue")]
    pub fn queue(&self) -> QueuePolicy {
        self.settings.policy.queue
    }

    /// Returns how long the events of a stored delivery of this `age` are remembered: for the
    /// rest of its schedule, and then for the [retention](Self::retention).
    #[cfg(feature = "queue")]
    pub fn queued_retention(&self, age: Duration) -> Duration {
        let rest = self
            .settings
            .policy
            .queue
            .schedule
            .give_up
            .saturating_sub(age);
        self.settings.policy.retention.saturating_add(rest)
    }

    /// Returns how long a delivery waits for another delivery of its event.
    pub fn duplicate_wait(&self) -> Duration {
        match self.settings.policy.mode {
            Mode::Enforce => self.settings.policy.duplicate_wait,
            // The delivery is forwarded in any case, so a wait changes nothing.
            Mode::Observe => Duration::ZERO,
        }
    }

    /// Returns `refusal` with the body that the provider expects. An entry point calls this for
    /// every refusal of the source.
    #[must_use]
    pub fn shape(&self, refusal: Refusal) -> Refusal {
        refusal.with_body(self.settings.policy.refusal_body)
    }

    /// Returns this source as it verifies captured deliveries: it enforces the checks, and
    /// deliveries of any age verify.
    pub(crate) fn for_captures(&self) -> Self {
        let mut settings = Settings::clone(&self.settings);
        settings.policy.mode = Mode::Enforce;
        let verifier = ignore_age(self.verifier().clone());
        let identity = Identity::new(self.name(), self.identity.tenant.clone(), verifier);
        Self {
            settings: Arc::new(settings),
            identity: Arc::new(identity),
        }
    }

    /// Returns the refusal for `error`, with the status that the provider expects.
    pub(crate) fn refusal(&self, error: VerifyError) -> Refusal {
        let scheme = self.identity.verifier.scheme();
        let refusal = Refusal::from(error);
        if error == VerifyError::SignatureMissing && scheme.retries_unsigned() {
            return refusal.asking_to_retry();
        }
        match (scheme.refusal_status(), error) {
            (None, _)
            | (
                _,
                VerifyError::NoActiveKey
                | VerifyError::KeyUnknown
                | VerifyError::KeyUnavailable
                | VerifyError::HandshakeRefused,
            ) => refusal,
            (Some(status), _) => refusal.with_status(status),
        }
    }

    /// Returns the refusal for `error` after the whole body was read.
    pub(crate) fn refusal_after_body(&self, error: VerifyError) -> Refusal {
        // A source that was built without its fetcher has no key at all.
        let error = match (error, &self.settings.keys) {
            (VerifyError::SignatureMismatch, None) if self.identity.verifier.fetches_keys() => {
                VerifyError::KeyUnavailable
            }
            (error, _) => error,
        };
        let refusal = self.refusal(error);
        match (error, self.settings.policy.on_mismatch) {
            (VerifyError::SignatureMismatch, OnMismatch::AskToRetry) => refusal.asking_to_retry(),
            _ => refusal,
        }
    }

    pub(crate) fn read_delivery_id(&self, headers: &HeaderMap) -> Option<Box<str>> {
        self.settings.dedupe.read_delivery_id(headers)
    }

    /// Returns the key of the event with the signed `id`, for
    /// [`Gate::forget_keys`](crate::Gate::forget_keys).
    pub fn key_of_event(&self, id: &str) -> ReplayKey {
        self.identity.scope.key_of_event(id)
    }

    /// Returns the keys that `verified` claims. `None` if it claims nothing and is forwarded.
    pub(crate) fn claimed_keys(
        &self,
        verified: &Verified,
        delivery_id: Option<&str>,
    ) -> Option<SmallVec<[ReplayKey; 1]>> {
        if self.dedupe() == Dedupe::Content {
            return Some(verified.replay_keys(&self.identity.scope));
        }
        self.settings
            .dedupe
            .claimed_keys(verified, &self.identity.scope, delivery_id)
    }

    /// Returns the acknowledgement of a delivery that is not forwarded now.
    pub(crate) fn acknowledgement(&self) -> SuccessResponse {
        match &self.settings.acknowledgement {
            None => SuccessResponse::Empty,
            Some(expected) => SuccessResponse::Expected(Arc::clone(expected)),
        }
    }

    /// Returns whether the provider acts on the content of a response. A duplicate then gets the
    /// first response again, for a while. False if the source observes: it forwards duplicates.
    pub fn answer_matters(&self) -> bool {
        self.settings.policy.answer_matters
    }

    pub(crate) fn on_conflict(&self) -> OnConflict {
        self.settings.policy.on_conflict
    }

    pub(crate) fn on_duplicate(&self) -> OnDuplicate {
        self.settings.policy.on_duplicate
    }

    /// Returns how long a claim keeps other deliveries of the event out.
    pub(crate) fn claim_lease(&self) -> Duration {
        match self.settings.policy.guarantee {
            DeliveryGuarantee::AtLeastOnce => self.settings.policy.lease,
            // Only a known outcome makes the event claimable again. Neither a crash nor the
            // end of a lease does.
            DeliveryGuarantee::AtMostOnce => self.settings.policy.retention,
        }
    }

    /// Returns the options of a claim on a message with this checksum and signing time.
    pub(crate) fn claim_options(
        &self,
        content: Option<u32>,
        signed: Option<UnixTime>,
    ) -> ClaimOptions {
        let Policy {
            retention,
            guarantee,
            max_entries,
            ..
        } = self.settings.policy;
        let attempt_retention = match guarantee {
            DeliveryGuarantee::AtLeastOnce => retention,
            DeliveryGuarantee::AtMostOnce => Duration::ZERO,
        };
        let mut options = ClaimOptions::new(self.claim_lease(), attempt_retention);
        options.quota =
            max_entries.map(|max_entries| SourceQuota::new(self.identity.number, max_entries));
        options.content_checksum = content;
        options.signed_at = signed;
        options
    }
}
