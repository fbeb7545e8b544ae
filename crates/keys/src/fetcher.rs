//! [`KeyFetcher`]: finds the key that a delivery names, in memory or at the provider.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookgate_core::internal::{ErrorChain, FetchRule, KeyFormat, fetch_rule};
use hookgate_core::{FetchedKey, KeyReference, Scheme, UnixTime, VerifyError};
use http::StatusCode;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::address::Address;
use crate::budget::Network;
use crate::certificate::{self, CertificateCheck, CertificateError, read_issuer};
use crate::document::{self, DocumentError, NamedKey};
use crate::fetch::{DocumentRequest, FetchDocument, FetchError};
use crate::request::TokenError;
use crate::settings::{CertificateChain, KeySettings, Pins, SettingsError};
use crate::slot::{Loaded, Slot};
use crate::state::{Decision, State};
use crate::stats::{Counters, FetchResult, KeyStats};
use crate::target::Target;

/// The most deliveries of one source that wait for documents.
const MAX_WAITING: usize = 1000;
/// The most certificates of issuers between a certificate and a root.
const MAX_ISSUERS: usize = 3;
/// The most certificates of issuers in memory.
const MAX_ISSUERS_KEPT: usize = 64;

/// Finds the keys of one source. Cheap to clone; clones share the documents.
#[derive(Clone)]
pub struct KeyFetcher(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    name: Arc<str>,
    scheme: Scheme,
    pub(crate) rule: FetchRule,
    pub(crate) pins: Pins,
    pub(crate) client: Arc<dyn FetchDocument>,
    state: Mutex<State>,
    counters: Counters,
    waiting: AtomicUsize,
}

impl KeyFetcher {
    /// Creates a fetcher for the keys of `scheme`. `name` is that of the source, for logs.
    ///
    /// # Errors
    ///
    /// Returns a [`SettingsError`] if the scheme publishes no keys, or if a setting is missing or
    /// wrong.
    pub fn new(
        name: impl Into<Arc<str>>,
        scheme: &Scheme,
        settings: KeySettings,
        client: Arc<dyn FetchDocument>,
    ) -> Result<Self, SettingsError> {
        let rule = fetch_rule(scheme).ok_or_else(|| {
            SettingsError::new("url", "the provider publishes no keys; expected `secrets`")
        })?;
        let pins = settings.resolve(rule)?;
        Ok(Self(Arc::new(Shared {
            name: name.into(),
            scheme: scheme.clone(),
            rule: rule.clone(),
            pins,
            client,
            state: Mutex::default(),
            counters: Counters::default(),
            waiting: AtomicUsize::new(0),
        })))
    }

    /// Returns the key that `reference` names.
    ///
    /// `client` is the address of the client that sent the delivery, if it is known. All clients
    /// without an address count as one network. The call waits for at most the time limit of a
    /// fetch.
    ///
    /// # Errors
    ///
    /// * [`VerifyError::KeyReferenceRefused`] if the reference lies outside of the pins,
    /// * [`VerifyError::KeyUnknown`] if the provider does not publish the key, or not yet, or if
    ///   the network of the client has named too many keys in this minute,
    /// * [`VerifyError::KeyUnavailable`] if the key cannot be fetched now.
    pub async fn key(
        &self,
        reference: &KeyReference,
        client: Option<IpAddr>,
        now: UnixTime,
    ) -> Result<FetchedKey, VerifyError> {
        let shared = &self.0;
        let target = Target::select(reference, &shared.rule, &shared.pins)?;
        let network = Network::of(client);
        let flight = {
            let mut state = shared.state();
            match state.decide(&target, network, shared.pins.keep, now) {
                Decision::Known { key, refresh } => {
                    if refresh {
                        self.start(&mut state, &target, now);
                    }
                    return Ok(key);
                }
                Decision::Fetch => self.start(&mut state, &target, now),
                Decision::Wait(flight) => flight,
                Decision::Refuse(error) => return Err(error),
            }
        };
        // A flood must not refuse a delivery whose last good key is in memory: it goes by that
        // key if no place is left.
        if let Some(_place) = shared.wait_place() {
            wait(flight).await;
        }
        shared.state().after_fetch(&target, shared.pins.keep, now)
    }

    /// Notes that a delivery from `client` has verified and claimed its event: the network of the
    /// client keeps a share of the budget.
    ///
    /// # Security
    ///
    /// Do not call this for a duplicate. Otherwise a party that replays a captured delivery wins a
    /// share for its network.
    pub fn claimed(&self, client: Option<IpAddr>) {
        self.0.state().budget.prove(Network::of(client));
    }

    /// Returns the longest time for which a delivery waits for its key.
    pub fn timeout(&self) -> Duration {
        self.0.pins.timeout
    }

    /// Takes over the documents of `previous`, if both have the same rule and settings.
    ///
    /// A reload keeps the keys in this way, also while the provider cannot be reached.
    pub fn inherit(&self, previous: &Self) {
        if Arc::ptr_eq(&self.0, &previous.0) || !self.is_like(previous) {
            return;
        }
        let previous_state = previous.0.state();
        let mut state = self.0.state();
        for (document, slot) in &previous_state.slots {
            if slot.loaded.is_some() {
                let slot = Slot {
                    flight: None,
                    ..slot.clone()
                };
                state.slots.insert(document.clone(), slot);
            }
        }
        state.budget.inherit(&previous_state.budget);
        self.0.counters.add(&previous.0.counters);
    }

    /// Whether the keys of both fetchers can be used in place of each other.
    fn is_like(&self, other: &Self) -> bool {
        self.0.pins == other.0.pins
            && format!("{:?}", self.0.scheme) == format!("{:?}", other.0.scheme)
    }

    /// Returns the counters and the age of the keys.
    pub fn stats(&self, now: UnixTime) -> KeyStats {
        let (keys, oldest) = self.0.state().inventory(now);
        KeyStats {
            fetches: self.0.counters.totals(),
            keys,
            oldest,
        }
    }

    /// Starts a request for the document of `target`, in a task of its own: a delivery whose
    /// sender hangs up does not cancel it.
    fn start(&self, state: &mut State, target: &Target, now: UnixTime) -> watch::Receiver<()> {
        let (done, flight) = watch::channel(());
        let slot = state
            .slots
            .entry(target.document.clone())
            .or_insert_with(|| Slot::new(now));
        slot.attempted = now;
        slot.flight = Some(flight.clone());
        let (fetcher, target) = (self.clone(), target.clone());
        tokio::spawn(async move {
            let load = timeout(fetcher.0.pins.timeout, fetcher.0.load(&target, now)).await;
            let load = load.unwrap_or(Err(LoadError::Fetch(FetchError::TimedOut)));
            fetcher.0.finish(&target, load, now);
            drop(done);
        });
        flight
    }
}

/// Waits until the request has ended: its task then drops the sender.
async fn wait(mut flight: watch::Receiver<()>) {
    while flight.changed().await.is_ok() {}
}

/// The place of a delivery that waits for a document.
struct WaitPlace<'s>(&'s AtomicUsize);

impl Drop for WaitPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a delivery that waits, if one is left.
    fn wait_place(&self) -> Option<WaitPlace<'_>> {
        let place = WaitPlace(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }

    /// Fetches the document of `target` and reads its keys.
    async fn load(&self, target: &Target, now: UnixTime) -> Result<Loaded, LoadError> {
        let request = self.request(target, now).await?;
        let fetched = self.client.fetch(&request).await?;
        if fetched.body.len() > DocumentRequest::MAX_DOCUMENT {
            return Err(FetchError::TooLarge.into());
        }
        let keys = match self.rule.format {
            KeyFormat::Certificate => self.certificate(target, &fetched.body, now).await?,
            _ => document::parse(&self.scheme, &self.rule, &target.key, &fetched.body)?,
        };
        let [least, most] = KeySettings::STATED_AGE;
        Ok(Loaded {
            keys,
            fetched: now,
            fresh_for: fetched
                .max_age
                .map_or(self.pins.max_age, |age| age.clamp(least, most)),
        })
    }

    /// Checks the certificate in `document` and returns its key.
    async fn certificate(
        &self,
        target: &Target,
        document: &[u8],
        now: UnixTime,
    ) -> Result<Vec<NamedKey>, LoadError> {
        let checked = CertificateCheck::read(document)?;
        checked.check_name(&self.pins.names)?;
        checked.check_period(now)?;
        if self.pins.chain == CertificateChain::Roots {
            self.find_chain(&checked, now).await?;
        }
        let key = checked.key(&self.scheme, &target.key)?;
        Ok(vec![(None, key)])
    }

    /// Finds a chain from the certificate to a root, with certificates of issuers from memory or
    /// from their hosts.
    ///
    /// Only the certificates of a complete chain stay in memory. They can arrive over plain HTTP:
    /// a forged one must not refuse the deliveries that come later.
    async fn find_chain(
        &self,
        checked: &CertificateCheck<'_>,
        now: UnixTime,
    ) -> Result<(), LoadError> {
        let (mut names, mut issuers) = (Vec::new(), Vec::new());
        let roots = certificate::roots(self.pins.roots.as_deref())?;
        let found = loop {
            match checked.check_chain(&issuers, &roots, now) {
                Err(CertificateError::IssuerMissing) if issuers.len() < MAX_ISSUERS => {}
                found => break found.map_err(LoadError::from),
            }
            let Some(address) = checked.issuer_address(&issuers, &self.rule.issuers) else {
                break Err(CertificateError::IssuerMissing.into());
            };
            let name = address.to_string();
            match self.issuer(&name, address).await {
                Ok(issuer) => issuers.push(issuer),
                Err(error) => break Err(error),
            }
            names.push(name);
        };
        let known = &mut self.state().issuers;
        for (name, issuer) in names.into_iter().zip(issuers) {
            if found.is_err() {
                known.remove(&name);
            } else if known.len() < MAX_ISSUERS_KEPT {
                known.insert(name, issuer);
            }
        }
        found
    }

    /// Returns the certificate of an issuer, from memory or from its host.
    async fn issuer(
        &self,
        name: &str,
        address: Address,
    ) -> Result<CertificateDer<'static>, LoadError> {
        if let Some(known) = self.state().issuers.get(name) {
            return Ok(known.clone());
        }
        let request = DocumentRequest::get(address);
        let fetched = self.client.fetch(&request).await;
        let fetched = fetched.map_err(LoadError::Issuer)?;
        let issuer = read_issuer(&fetched.body).ok_or(CertificateError::Malformed)?;
        Ok(issuer)
    }

    /// Stores the result of a request, counts it and logs it.
    fn finish(&self, target: &Target, load: Result<Loaded, LoadError>, now: UnixTime) {
        let mut state = self.state();
        match load {
            Ok(loaded) => {
                tracing::info!(
                    source = &*self.name,
                    address = %target.address,
                    keys = loaded.keys.len(),
                    "keys fetched"
                );
                self.counters.count(FetchResult::Success);
                state.store(target, loaded);
            }
            Err(error) => {
                let result = FetchResult::of(&error);
                self.counters.count(result);
                if matches!(
                    error,
                    LoadError::Fetch(FetchError::Status(StatusCode::UNAUTHORIZED))
                ) {
                    // The provider has revoked the token before its end.
                    state.token = None;
                }
                state.fail(target, result == FetchResult::Missing, now);
                // The budget and the backoff bound the number of these lines.
                tracing::warn!(
                    source = &*self.name,
                    address = %target.address,
                    error = %ErrorChain(&error),
                    "cannot fetch a key"
                );
            }
        }
    }

    /// Returns the access token in memory, if it still counts.
    pub(crate) fn known_token(&self, now: UnixTime) -> Option<String> {
        let state = self.state();
        let (token, end) = state.token.as_ref()?;
        (now < *end).then(|| token.clone())
    }

    pub(crate) fn keep_token(&self, token: &str, end: UnixTime) {
        self.state().token = Some((token.to_owned(), end));
    }
}

/// Shows neither keys nor credentials.
impl fmt::Debug for KeyFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFetcher")
            .field("name", &self.0.name)
            .field("pins", &self.0.pins)
            .finish_non_exhaustive()
    }
}

/// Why a document has brought no key.
#[derive(Debug)]
pub(crate) enum LoadError {
    Fetch(FetchError),
    /// The certificate of an issuer cannot be fetched.
    Issuer(FetchError),
    Token(TokenError),
    Document(DocumentError),
    Certificate(CertificateError),
}

impl From<FetchError> for LoadError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<DocumentError> for LoadError {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}

impl From<CertificateError> for LoadError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<TokenError> for LoadError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch(_) => "the document cannot be fetched",
            Self::Issuer(_) => "the certificate of an issuer cannot be fetched",
            Self::Token(_) => "there is no access token for the document",
            Self::Document(_) => "the document is refused",
            Self::Certificate(_) => "the certificate is refused",
        })
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::Fetch(cause) | Self::Issuer(cause) => cause,
            Self::Token(cause) => cause,
            Self::Document(cause) => cause,
            Self::Certificate(cause) => cause,
        })
    }
}
