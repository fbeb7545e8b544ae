use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Address, Context, PreparedKey, Verifier};
use crate::catalogue::published_secrets;
use crate::error::SecretError;
use crate::limits::MAX_KEYS;
use crate::mac;
use crate::scheme::{Scheme, field};
use crate::secret::Secret;
use crate::time::{UnixTime, Window};

/// A secret with a name and a time in which it counts.
#[derive(Clone, Debug)]
pub struct Key {
    secret: Secret,
    id: Option<String>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
}

impl Key {
    /// A key that always counts, named by its position.
    pub const fn new(secret: Secret) -> Self {
        Self {
            secret,
            id: None,
            not_before: None,
            not_after: None,
        }
    }

    /// Names the key, for [`Verified::key_id`](crate::Verified::key_id).
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Makes the key count from `time` on.
    #[must_use]
    pub fn not_before(mut self, time: UnixTime) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Makes the key count up to and with `time`.
    #[must_use]
    pub fn not_after(mut self, time: UnixTime) -> Self {
        self.not_after = Some(time);
        self
    }
}

impl From<Secret> for Key {
    fn from(secret: Secret) -> Self {
        Self::new(secret)
    }
}

/// Builds a [`Verifier`].
#[derive(Debug)]
pub struct VerifierBuilder {
    scheme: Scheme,
    keys: Vec<Key>,
    window: Option<Window>,
    url: Option<String>,
    params: BTreeMap<Box<str>, Box<str>>,
    variant: Option<String>,
    published: Published,
}

/// Whether secrets that public documentation prints may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Published {
    Refused,
    Allowed,
}

impl VerifierBuilder {
    pub(super) fn new(scheme: &Scheme) -> Self {
        Self {
            scheme: scheme.clone(),
            keys: Vec::new(),
            window: None,
            url: None,
            params: BTreeMap::new(),
            variant: None,
            published: Published::Refused,
        }
    }

    /// Adds a key. A delivery passes if it is signed with any of them.
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Sets the window; the scheme's own if not set.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets the address at which the provider calls, exactly as it was entered
    /// there: for schemes that sign it.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets a parameter of the scheme, such as the token of a handshake.
    #[must_use]
    pub fn param(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Lets only one of the scheme's variants count, whatever a delivery looks
    /// like. Those that are `opt_in` count only so.
    #[must_use]
    pub fn variant(mut self, name: impl Into<String>) -> Self {
        self.variant = Some(name.into());
        self
    }

    /// Lets secrets pass that the documentation of some provider prints, and
    /// with which anybody can sign: for tests.
    #[must_use]
    pub fn with_insecure_published_secrets(mut self) -> Self {
        self.published = Published::Allowed;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// [`BuildError`] without a key, with more than [`MAX_KEYS`], with two of
    /// the same id, with a secret that does not fit the scheme or that some
    /// provider's documentation prints, or without what the scheme needs to know
    /// besides.
    pub fn build(self) -> Result<Verifier, BuildError> {
        match self.keys.len() {
            0 => return Err(BuildError::NoKey),
            1..=MAX_KEYS => {}
            _ => return Err(BuildError::TooManyKeys),
        }
        let context = context(&self.scheme, self.url.as_deref(), self.params)?;
        let pinned = match self.variant {
            None => None,
            Some(name) => Some(find_variant(&self.scheme, &name)?),
        };
        let published = match self.published {
            Published::Refused => published_secrets(),
            Published::Allowed => &[],
        };
        let mut keys: Vec<PreparedKey> = Vec::with_capacity(self.keys.len());
        for (index, key) in self.keys.into_iter().enumerate() {
            let id = key.id.unwrap_or_else(|| (index + 1).to_string());
            if !field::is_valid_id(id.as_bytes(), b"") || keys.iter().any(|other| *other.id == *id)
            {
                return Err(BuildError::KeyId { index });
            }
            let prepared = prepare(&self.scheme, pinned, &key.secret, published)
                .map_err(|error| BuildError::Secret { index, error })?;
            keys.push(PreparedKey {
                id: id.into(),
                not_before: key.not_before,
                not_after: key.not_after,
                weak: prepared.weak,
                keys: prepared.keys,
            });
        }
        Ok(Verifier {
            scheme: self.scheme,
            window: self.window,
            context: Arc::new(context),
            pinned,
            keys,
        })
    }
}

/// What the operator has set; nothing that the scheme needs is missing, and
/// nothing is there that it does not know.
pub(crate) fn context(
    scheme: &Scheme,
    url: Option<&str>,
    params: BTreeMap<Box<str>, Box<str>>,
) -> Result<Context, BuildError> {
    let address = match url {
        Some(url) => Some(Address::parse(url).ok_or(BuildError::UrlMalformed)?),
        None if scheme.needs_url() => return Err(BuildError::UrlMissing),
        None => None,
    };
    let may_run_on = |plan: &crate::scheme::Plan| {
        plan.message.url_constraints.fixed_path && plan.url.toggle_port
    };
    if address.as_ref().is_some_and(|address| !address.has_path())
        && scheme.plans().iter().any(may_run_on)
    {
        return Err(BuildError::UrlWithoutPath);
    }
    if let Some(name) = scheme.params().find(|name| !params.contains_key(*name)) {
        return Err(BuildError::ParamMissing { name: name.into() });
    }
    let known = |name: &str| scheme.params().any(|known| known == name);
    if let Some(name) = params.keys().find(|name| !known(name)) {
        return Err(BuildError::ParamUnknown { name: name.clone() });
    }
    if let Some((name, _)) = params.iter().find(|(_, value)| value.is_empty()) {
        return Err(BuildError::ParamMissing { name: name.clone() });
    }
    Ok(Context { address, params })
}

pub(crate) fn find_variant(scheme: &Scheme, name: &str) -> Result<usize, BuildError> {
    scheme
        .variants()
        .position(|variant| variant.name() == Some(name))
        .ok_or_else(|| BuildError::VariantUnknown {
            known: scheme
                .variants()
                .filter_map(|v| v.name())
                .map(Into::into)
                .collect(),
        })
}

struct Prepared {
    weak: bool,
    keys: Box<[Option<mac::Key>]>,
}

/// The keys that `secret` becomes in each variant. It has to fit every one that
/// it is meant for, and be meant for one at least.
fn prepare(
    scheme: &Scheme,
    pinned: Option<usize>,
    secret: &Secret,
    published: &[Secret],
) -> Result<Prepared, SecretError> {
    let mut weak = false;
    let mut keys = Vec::with_capacity(scheme.plans().len());
    for (index, plan) in scheme.plans().iter().enumerate() {
        if !scheme.is_enabled(index, pinned) || !plan.key.is_for(secret) {
            keys.push(None);
            continue;
        }
        if published
            .iter()
            .any(|p| mac::Key::is_same_secret(&plan.key, secret, p))
        {
            return Err(SecretError::Published);
        }
        weak |= plan.key.is_weak(secret);
        keys.push(Some(mac::Key::new(plan.algorithm, &plan.key, secret)?));
    }
    if keys.iter().all(Option::is_none) {
        return Err(SecretError::Prefix);
    }
    Ok(Prepared {
        weak,
        keys: keys.into(),
    })
}

/// Why a verifier cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// No key was given: nothing could ever verify.
    NoKey,
    /// More than [`MAX_KEYS`] keys were given.
    TooManyKeys,
    /// The id of key `index` is taken, or not 1 to 256 visible ASCII characters.
    KeyId {
        /// Position of the key, from 0.
        index: usize,
    },
    /// The secret of key `index` cannot be used.
    Secret {
        /// Position of the key, from 0.
        index: usize,
        /// Why.
        error: SecretError,
    },
    /// The scheme signs the address at which the provider calls, and none is set.
    UrlMissing,
    /// The address is not one of `http` or `https`, or has more to it than host,
    /// port, path and query.
    UrlMalformed,
    /// The address has no path, not even `/`, and could run into the body.
    UrlWithoutPath,
    /// A parameter that the scheme needs is not set.
    ParamMissing {
        /// The parameter.
        name: Box<str>,
    },
    /// A parameter is set that the scheme does not know.
    ParamUnknown {
        /// The parameter.
        name: Box<str>,
    },
    /// The scheme has no such variant.
    VariantUnknown {
        /// Those that it has.
        known: Vec<Box<str>>,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no key; expected at least one"),
            Self::TooManyKeys => write!(f, "too many keys; expected at most {MAX_KEYS}"),
            Self::KeyId { index } => write!(
                f,
                "key {index}: expected an id of its own, of 1 to 256 visible ASCII characters"
            ),
            Self::Secret { index, error } => write!(f, "key {index}: {error}"),
            Self::UrlMissing => f.write_str(
                "the address is missing; the scheme signs it, so expected the one at which the \
                 provider calls, exactly as it was entered there",
            ),
            Self::UrlMalformed => f.write_str(
                "expected an address of http:// or https://, without user, password and fragment",
            ),
            Self::UrlWithoutPath => {
                f.write_str("expected an address with a path, if only /: the scheme needs one")
            }
            Self::ParamMissing { name } => {
                write!(
                    f,
                    "the parameter {name:?} is missing, which the scheme needs"
                )
            }
            Self::ParamUnknown { name } => {
                write!(f, "the parameter {name:?} is none of the scheme's")
            }
            Self::VariantUnknown { known } if known.is_empty() => {
                f.write_str("the scheme has no variants")
            }
            Self::VariantUnknown { known } => {
                write!(f, "no such variant; expected one of {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for BuildError {}
