//! The builder of a [`Source`].

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::{Acknowledgement, Provider, UndocumentedProvider, Verifier};
use http::HeaderName;

use super::dedupe::{Dedupe, DedupeRule, ProviderFacts};
use super::policy::{
    BodyLimit, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, OnMismatch, Policy,
};
use super::{Identity, Settings, Source};
use crate::keys::KeyFetcher;
#[cfg(feature = "queue")]
use crate::queue::QueuePolicy;
use crate::refusal::RefusalBody;

/// The largest body limit that the catalogue sets: 32 MiB. Only the operator sets a higher one.
const MAX_PROVIDER_BODY: usize = 32 << 20;

/// Builds a [`Source`].
#[must_use = "call `build`"]
#[derive(Debug)]
pub struct SourceBuilder {
    name: Arc<str>,
    tenant: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    verifier: Verifier,
    provider_retention: Option<Duration>,
    own_retention: Option<Duration>,
    facts: ProviderFacts,
    dedupe: Option<Dedupe>,
    provider_body_limit: Option<BodyLimit>,
    own_body_limit: Option<BodyLimit>,
    acknowledgement: Option<Arc<Acknowledgement>>,
    keys: Option<KeyFetcher>,
    policy: Policy,
}

impl SourceBuilder {
    /// The retention of a source whose provider's retries are not known: 72 h.
    pub const DEFAULT_RETENTION: Duration = Duration::from_secs(72 * 3600);
    /// The default lease: 60 s.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);
    /// The longest time for which the layer renews the lease of a call by default: 1 h.
    pub const DEFAULT_MAX_RUN: Duration = Duration::from_secs(3600);
    /// The default wait for a delivery in flight: 5 s.
    pub const DEFAULT_DUPLICATE_WAIT: Duration = Duration::from_secs(5);
    /// The default time limit of a whole body: 15 s.
    pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(15);

    pub(super) fn new(name: Arc<str>, verifier: Verifier) -> Self {
        Self {
            name,
            tenant: None,
            provider: None,
            verifier,
            provider_retention: None,
            own_retention: None,
            facts: ProviderFacts::default(),
            dedupe: None,
            provider_body_limit: None,
            own_body_limit: None,
            acknowledgement: None,
            keys: None,
            policy: Policy {
                mode: Mode::Enforce,
                retention: Self::DEFAULT_RETENTION,
                lease: Self::DEFAULT_LEASE,
                max_run: Self::DEFAULT_MAX_RUN,
                duplicate_wait: Self::DEFAULT_DUPLICATE_WAIT,
                max_entries: None,
                body_limit: BodyLimit::DEFAULT,
                body_timeout: Self::DEFAULT_BODY_TIMEOUT,
                on_duplicate: OnDuplicate::Acknowledge,
                on_conflict: OnConflict::Count,
                guarantee: DeliveryGuarantee::AtLeastOnce,
                on_mismatch: OnMismatch::Refuse,
                refusal_body: RefusalBody::Problem,
                answer_matters: false,
                #[cfg(feature = "queue")]
                queue: QueuePolicy::default(),
            },
        }
    }

    /// Sets the name of the source.
    ///
    /// The name is part of every replay key, so two accounts at one provider need two names if
    /// their events can have equal ids.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the tenant of these deliveries, if one source serves several tenants with
    /// secrets of their own.
    ///
    /// The tenant is part of every replay key, so equal ids of two tenants are two events.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Forwards every delivery, whatever the verdict of the checks is, and only counts and
    /// logs the verdicts.
    ///
    /// # Security
    ///
    /// Use this only for a trial in front of a receiver that checks by itself. Requests with any
    /// method reach it. Only a body above the limit is still refused, and `CONNECT`.
    pub fn with_insecure_observe_mode(mut self) -> Self {
        self.policy.mode = Mode::Observe;
        self
    }

    /// Names the provider of the source. Takes the defaults of the retention, the duplicate
    /// detection and the body limit from its entry in the catalogue, and the expected responses.
    pub fn provider(mut self, provider: &Provider) -> Self {
        self.provider = Some(provider.name().into());
        self.provider_retention = Some(provider.retention());
        self.provider_body_limit = provider
            .facts()
            .max_body()
            .and_then(|size| usize::try_from(*size.value()).ok())
            .map(|size| size.clamp(BodyLimit::DEFAULT.get(), MAX_PROVIDER_BODY))
            .and_then(BodyLimit::new);
        self.facts = ProviderFacts::of(provider);
        let responses = provider.responses();
        self.acknowledgement = responses.acknowledgement().cloned().map(Arc::new);
        self.policy.answer_matters = responses.answer_matters();
        self.policy.refusal_body = match responses.bare_refusals() {
            true => RefusalBody::Empty,
            false => RefusalBody::Problem,
        };
        self
    }

    /// Names a provider that publishes no scheme, and takes the default retention from its
    /// entry in the catalogue. The operator wrote the scheme.
    pub fn undocumented_provider(mut self, provider: &UndocumentedProvider) -> Self {
        self.provider = Some(provider.name().into());
        self.provider_retention = Some(provider.retention());
        self
    }

    /// Sets the rule by which two deliveries are one event.
    ///
    /// The default follows from the facts of the [provider](Self::provider):
    ///
    /// * [`Dedupe::Content`] if distinct events never have equal bytes, or if that is not known;
    /// * [`Dedupe::DeliveryId`] if they can, and the provider sends a delivery id;
    /// * [`Dedupe::Off`] if they can, and it sends none.
    ///
    /// Where the signed bytes mark the events that can be equal, only these events leave
    /// [`Dedupe::Content`]. An explicit [`Dedupe::Off`] applies to every event.
    ///
    /// # Security
    ///
    /// Under [`Dedupe::DeliveryId`] and [`Dedupe::Off`], a party that holds a captured delivery
    /// can replay it. [`Dedupe::DeliveryId`] without a known
    /// [header](Self::delivery_id_header) is [`Dedupe::Content`].
    pub fn dedupe(mut self, dedupe: Dedupe) -> Self {
        self.dedupe = Some(dedupe);
        self
    }

    /// Names the header with the unsigned delivery id, for [`Dedupe::DeliveryId`]. The default
    /// is that of the [provider](Self::provider); call this afterwards.
    ///
    /// # Security
    ///
    /// The id must be equal in every retry, and unpredictable: a party that predicts it can make
    /// a genuine event look like a duplicate.
    pub fn delivery_id_header(mut self, header: HeaderName) -> Self {
        self.facts.set_delivery_id(header);
        self
    }

    /// Sets how long done events are remembered.
    ///
    /// The default is the retry horizon of the provider, or 72 h. A value below the security
    /// retention of the window is raised to it, because a shorter retention lets replays in.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.own_retention = Some(retention);
        self
    }

    /// Sets how long a delivery in flight keeps other deliveries of its event out, at least
    /// one second. The default is [`DEFAULT_LEASE`](Self::DEFAULT_LEASE).
    ///
    /// The layer renews the lease while the inner service works on the delivery, up to
    /// [`max_run`](Self::max_run). After a crash of the process, a retry waits until the lease has
    /// ended. Where nothing renews the lease, it must be longer than the longest delivery.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// Sets how long the layer renews the lease of one call, also of a queued delivery. The default is
    /// [`DEFAULT_MAX_RUN`](Self::DEFAULT_MAX_RUN).
    ///
    /// A call that hangs keeps the retries of its event out for this time, or for its lease if that
    /// is longer.
    pub fn max_run(mut self, max_run: Duration) -> Self {
        self.policy.max_run = max_run;
        self
    }

    /// Sets how many events of this source the store may remember at a time.
    ///
    /// The limit keeps a noisy source from filling the store. Without it, the source may use
    /// the whole store.
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.policy.max_entries = Some(max_entries);
        self
    }

    /// Sets how long a second delivery of an event in flight waits for the first. The default
    /// is [`DEFAULT_DUPLICATE_WAIT`](Self::DEFAULT_DUPLICATE_WAIT).
    pub fn duplicate_wait(mut self, wait: Duration) -> Self {
        self.policy.duplicate_wait = wait;
        self
    }

    /// Sets the size limit of a body.
    ///
    /// The default is the size of the provider's largest body, if it is known and between
    /// [`BodyLimit::DEFAULT`] and 32 MiB. Otherwise it is [`BodyLimit::DEFAULT`].
    pub fn body_limit(mut self, limit: BodyLimit) -> Self {
        self.own_body_limit = Some(limit);
        self
    }

    /// Sets the time limit of a whole body. The default is
    /// [`DEFAULT_BODY_TIMEOUT`](Self::DEFAULT_BODY_TIMEOUT).
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.policy.body_timeout = timeout;
        self
    }

    /// Sets the response to a delivery of a done event that has another body. The default is
    /// [`OnConflict::Count`].
    pub fn on_conflict(mut self, response: OnConflict) -> Self {
        self.policy.on_conflict = response;
        self
    }

    /// Sets the response to a duplicate of a done event. The default is
    /// [`OnDuplicate::Acknowledge`].
    pub fn on_duplicate(mut self, response: OnDuplicate) -> Self {
        self.policy.on_duplicate = response;
        self
    }

    /// Sets the guarantee for a delivery whose outcome is unknown. The default is
    /// [`DeliveryGuarantee::AtLeastOnce`].
    pub fn delivery_guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.policy.guarantee = guarantee;
        self
    }

    /// Sets which deliveries are queued, and their order and schedule. By default, the gateway queues
    /// none. A layer with a queue stores them whatever the mode of this policy is.
    #[cfg(feature = "queue")]
    pub fn queue(mut self, queue: QueuePolicy) -> Self {
        self.policy.queue = queue;
        self
    }

    /// Responds with 503 instead of 401 to a well-formed, fresh delivery whose signature
    /// does not match, so that the sender retries.
    ///
    /// Use this while a secret rotates.
    pub fn retry_on_mismatch(mut self) -> Self {
        self.policy.on_mismatch = OnMismatch::AskToRetry;
        self
    }

    /// Sets the fetcher that finds the keys of deliveries.
    ///
    /// A source whose verifier has [`fetched_keys`] needs it: without a fetcher, every delivery
    /// is refused with 503.
    ///
    /// [`fetched_keys`]: hookgate_core::VerifierBuilder::fetched_keys
    #[cfg(feature = "keys")]
    pub fn keys(mut self, keys: KeyFetcher) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Builds the source.
    pub fn build(self) -> Source {
        let Self {
            name,
            tenant,
            provider,
            verifier,
            provider_retention,
            own_retention,
            facts,
            dedupe,
            provider_body_limit,
            own_body_limit,
            acknowledgement,
            keys,
            mut policy,
        } = self;
        policy.body_limit = own_body_limit
            .or(provider_body_limit)
            .unwrap_or(BodyLimit::DEFAULT);
        policy.answer_matters &= policy.mode == Mode::Enforce;
        policy.retention = own_retention
            .or(provider_retention)
            .unwrap_or(Self::DEFAULT_RETENTION)
            .max(verifier.window().security_retention());
        let identity = Identity::new(&name, tenant, verifier);
        let settings = Settings {
            name,
            provider,
            dedupe: DedupeRule::new(dedupe, facts),
            acknowledgement,
            keys,
            policy,
        };
        Source {
            settings: Arc::new(settings),
            identity: Arc::new(identity),
        }
    }
}
