use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::{
    Events, Provider, ReplayScope, UndocumentedProvider, UnixTime, Verifier, VerifyError,
};
use hookgate_replay::{ClaimOptions, SourceQuota};

use crate::refusal::Refusal;

/// A source of deliveries: whose they are, how they verify, what is promised.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    tenant: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    verifier: Verifier,
    scope: ReplayScope,
    /// Tells its entries from those of other sources in the store.
    tag: u64,
    policy: Policy,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    mode: Mode,
    retention: Duration,
    lease: Duration,
    wait: Duration,
    max_entries: Option<u64>,
    body_limit: BodyLimit,
    body_timeout: Duration,
    on_duplicate: OnDuplicate,
    on_conflict: OnConflict,
    dedupe: Dedupe,
    promise: DeliveryGuarantee,
    on_mismatch: OnMismatch,
}

impl Source {
    /// Starts a source called `name`. The name is part of every replay key: a
    /// source that is renamed has forgotten everything.
    pub fn builder(name: impl Into<Arc<str>>, verifier: Verifier) -> SourceBuilder {
        SourceBuilder {
            name: name.into(),
            tenant: None,
            provider: None,
            verifier,
            provider_retention: None,
            own_retention: None,
            provider_dedupe: None,
            own_dedupe: None,
            policy: Policy {
                mode: Mode::Enforce,
                retention: SourceBuilder::DEFAULT_RETENTION,
                lease: SourceBuilder::DEFAULT_LEASE,
                wait: SourceBuilder::DEFAULT_DUPLICATE_WAIT,
                max_entries: None,
                body_limit: BodyLimit::DEFAULT,
                body_timeout: SourceBuilder::DEFAULT_BODY_TIMEOUT,
                on_duplicate: OnDuplicate::Acknowledge,
                on_conflict: OnConflict::Count,
                dedupe: Dedupe::On,
                promise: DeliveryGuarantee::AtLeastOnce,
                on_mismatch: OnMismatch::Refuse,
            },
        }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose deliveries these are, where one source serves several.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// What the checks decide.
    pub fn mode(&self) -> Mode {
        self.policy.mode
    }

    /// The provider's name in the catalogue, if it is one of it.
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// What verifies this source's deliveries.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// For how long done events are remembered.
    pub fn retention(&self) -> Duration {
        self.policy.retention
    }

    /// For how long a delivery in flight keeps others of its event out.
    pub fn lease(&self) -> Duration {
        self.policy.lease
    }

    /// Most bytes of a body.
    pub fn body_limit(&self) -> BodyLimit {
        self.policy.body_limit
    }

    /// How long a body may take as a whole.
    pub fn body_timeout(&self) -> Duration {
        self.policy.body_timeout
    }

    /// What is promised when the outcome of a delivery is not known.
    pub fn delivery_guarantee(&self) -> DeliveryGuarantee {
        self.policy.promise
    }

    /// Whether an event is forwarded only once.
    pub fn dedupe(&self) -> Dedupe {
        self.policy.dedupe
    }

    /// How `error` is told: as the provider demands, if it does.
    pub(crate) fn refusal(&self, error: VerifyError) -> Refusal {
        match (self.verifier.scheme().refusal_status(), error) {
            (None, _) | (_, VerifyError::NoActiveKey | VerifyError::HandshakeRefused) => {
                error.into()
            }
            (Some(status), _) => Refusal::from(error).told(status),
        }
    }

    /// Likewise, after the whole delivery was read.
    pub(crate) fn refusal_of_whole(&self, error: VerifyError) -> Refusal {
        let refusal = self.refusal(error);
        match (error, self.policy.on_mismatch) {
            (VerifyError::SignatureMismatch, OnMismatch::AskToRetry) => refusal.asking_to_retry(),
            _ => refusal,
        }
    }

    pub(crate) fn scope(&self) -> &ReplayScope {
        &self.scope
    }

    /// How long a delivery waits for another one of its event.
    pub fn duplicate_wait(&self) -> Duration {
        match self.policy.mode {
            Mode::Enforce => self.policy.wait,
            // Whatever comes of it, the delivery goes on.
            Mode::Observe => Duration::ZERO,
        }
    }

    pub(crate) fn on_conflict(&self) -> OnConflict {
        self.policy.on_conflict
    }

    pub(crate) fn on_duplicate(&self) -> OnDuplicate {
        self.policy.on_duplicate
    }

    /// How long a claim keeps others from the event.
    pub(crate) fn claim_lease(&self) -> Duration {
        match self.policy.promise {
            DeliveryGuarantee::AtLeastOnce => self.policy.lease,
            // Only an outcome that is known opens the event again; not a crash,
            // and not the passing of time.
            DeliveryGuarantee::AtMostOnce => self.policy.retention,
        }
    }

    /// The terms of a claim on what has this checksum, and was signed then.
    pub(crate) fn claim_options(
        &self,
        content: Option<u32>,
        signed: Option<UnixTime>,
    ) -> ClaimOptions {
        let Policy {
            retention,
            promise,
            max_entries,
            ..
        } = self.policy;
        let attempt_retention = match promise {
            DeliveryGuarantee::AtLeastOnce => retention,
            DeliveryGuarantee::AtMostOnce => Duration::ZERO,
        };
        let mut options = ClaimOptions::new(self.claim_lease(), attempt_retention);
        options.quota = max_entries.map(|max_entries| SourceQuota::new(self.tag, max_entries));
        options.content_checksum = content;
        options.signed_at = signed;
        options
    }
}

/// Builds a [`Source`].
#[derive(Debug)]
pub struct SourceBuilder {
    name: Arc<str>,
    tenant: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    verifier: Verifier,
    provider_retention: Option<Duration>,
    own_retention: Option<Duration>,
    provider_dedupe: Option<Dedupe>,
    own_dedupe: Option<Dedupe>,
    policy: Policy,
}

impl SourceBuilder {
    /// Retention of a source whose provider's retries are not known: 72 h.
    pub const DEFAULT_RETENTION: Duration = Duration::from_secs(72 * 3600);
    /// Default lease: 60 s.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(60);
    /// Default wait for a delivery in flight: 5 s.
    pub const DEFAULT_DUPLICATE_WAIT: Duration = Duration::from_secs(5);
    /// Default time for a body as a whole: 15 s.
    pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(15);

    /// Sets whose deliveries these are, where one source serves several tenants
    /// with secrets of their own. It is part of every replay key, so that equal ids
    /// of two tenants are two events.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Lets every delivery through, whatever the checks find, and only counts and
    /// logs what they would have refused: for a trial in front of a receiver that
    /// checks by itself. The limits of bodies hold.
    #[must_use]
    pub fn with_insecure_observe_mode(mut self) -> Self {
        self.policy.mode = Mode::Observe;
        self
    }

    /// Takes the retention and the name of a provider of the catalogue.
    #[must_use]
    pub fn provider(mut self, provider: &Provider) -> Self {
        self.provider = Some(provider.name().into());
        self.provider_retention = Some(provider.retention());
        self.provider_dedupe = Some(match provider.events() {
            Events::Distinct => Dedupe::On,
            Events::Thin => Dedupe::Off,
        });
        self
    }

    /// Takes the retention and the name of a provider whose scheme is the
    /// operator's own.
    #[must_use]
    pub fn undocumented_provider(mut self, provider: &UndocumentedProvider) -> Self {
        self.provider = Some(provider.name().into());
        self.provider_retention = Some(provider.retention());
        self
    }

    /// Sets whether an event is forwarded only once. Off for providers whose
    /// distinct events can be byte-identical: taking one for a duplicate of the
    /// other would lose it.
    #[must_use]
    pub fn dedupe(mut self, dedupe: Dedupe) -> Self {
        self.own_dedupe = Some(dedupe);
        self
    }

    /// Sets for how long done events are remembered; otherwise it is as long as
    /// the provider retries, or 72 h. Raised to the security retention of the
    /// window: less would let replays in.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.own_retention = Some(retention);
        self
    }

    /// Sets for how long a delivery in flight keeps others of its event out, at
    /// least a second. Must be longer than any delivery takes.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// Sets how many events of this source the store may remember at a time, so that
    /// a noisy one leaves room for the others. Without it, as many as there is room
    /// for.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.policy.max_entries = Some(max_entries);
        self
    }

    /// Sets how long a second delivery of an event in flight waits for the first.
    #[must_use]
    pub fn duplicate_wait(mut self, wait: Duration) -> Self {
        self.policy.wait = wait;
        self
    }

    /// Sets the most bytes of a body.
    #[must_use]
    pub fn body_limit(mut self, limit: BodyLimit) -> Self {
        self.policy.body_limit = limit;
        self
    }

    /// Sets how long a body may take as a whole.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.policy.body_timeout = timeout;
        self
    }

    /// Sets what happens when an event that is done comes again with another body.
    #[must_use]
    pub fn on_conflict(mut self, answer: OnConflict) -> Self {
        self.policy.on_conflict = answer;
        self
    }

    /// Sets what a duplicate of a done event is told.
    #[must_use]
    pub fn on_duplicate(mut self, answer: OnDuplicate) -> Self {
        self.policy.on_duplicate = answer;
        self
    }

    /// Sets what is promised when the outcome of a delivery is not known.
    #[must_use]
    pub fn delivery_guarantee(mut self, guarantee: DeliveryGuarantee) -> Self {
        self.policy.promise = guarantee;
        self
    }

    /// Answers 503 instead of 401 to a well-formed, fresh delivery whose
    /// signature does not match, so that the sender tries again: for the gap
    /// while a secret rotates.
    #[must_use]
    pub fn retry_on_mismatch(mut self) -> Self {
        self.policy.on_mismatch = OnMismatch::AskToRetry;
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
            provider_dedupe,
            own_dedupe,
            mut policy,
        } = self;
        policy.dedupe = own_dedupe.or(provider_dedupe).unwrap_or_default();
        policy.retention = own_retention
            .or(provider_retention)
            .unwrap_or(Self::DEFAULT_RETENTION)
            .max(verifier.window().security_retention());
        let (scope, tag) = scope(&name, tenant.as_deref());
        Source {
            scope,
            tag,
            name,
            tenant,
            provider,
            verifier,
            policy,
        }
    }
}

/// Where the entries of a source belong, and the tag that counts them.
fn scope(name: &str, tenant: Option<&str>) -> (ReplayScope, u64) {
    let names = [name, tenant.unwrap_or_default()];
    let names = &names[..1 + usize::from(tenant.is_some())];
    let tag = BuildHasherDefault::<DefaultHasher>::default().hash_one(names);
    (ReplayScope::new(names), tag)
}

/// What a well-formed, fresh delivery is told whose signature does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnMismatch {
    Refuse,
    AskToRetry,
}

/// What the checks of a source decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whether a delivery is forwarded.
    #[default]
    Enforce,
    /// Nothing: every delivery is forwarded, and what they find is told.
    Observe,
}

/// Most bytes of a body; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// 1 MiB.
    pub const DEFAULT: Self = Self(1024 * 1024);

    /// A limit of `bytes`; `None` if that is no byte at all.
    pub const fn new(bytes: usize) -> Option<Self> {
        if bytes == 0 { None } else { Some(Self(bytes)) }
    }

    /// The limit in bytes.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for BodyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

/// Whether an event is forwarded only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dedupe {
    /// It is.
    #[default]
    On,
    /// Every delivery that verifies is forwarded.
    Off,
}

/// What a duplicate of a done event is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// 200: the event is done, and the sender may stop.
    #[default]
    Acknowledge,
    /// 409: strict, for senders that do not retry 4xx.
    Conflict,
}

/// What happens when an event that is done comes again with another body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The id decides: it is a duplicate. The difference is counted and logged.
    #[default]
    Count,
    /// 409, as well.
    Reject,
}

/// What is promised when a delivery was sent on and no answer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryGuarantee {
    /// The lease runs out, and the next retry is forwarded: nothing is lost.
    #[default]
    AtLeastOnce,
    /// The event is not forwarded again before its retention has passed. In the
    /// layer this holds from the call of the service inside on, whether that
    /// call ends, is dropped or panics.
    AtMostOnce,
}
