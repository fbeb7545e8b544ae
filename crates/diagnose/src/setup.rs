//! The configuration of the receiver.

use std::fmt;

use hookgate_core::{Provider, Scheme, Secret, Window};
use zeroize::Zeroizing;

use crate::address::forwarding;
use crate::capture::Capture;

/// A value for parameters that are not known. Most of them take part in handshakes alone.
const UNKNOWN: &str = "unknown";

/// The text of a secret as it is configured, with any blanks, quotes or line ends.
///
/// Unlike a [`Secret`], it may be a placeholder or empty. `Debug` does not show it, and its
/// memory is erased on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<Vec<u8>>);

impl SecretText {
    /// Creates the text from its bytes.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text as a secret, unless it is empty, too long, or a placeholder.
    pub(crate) fn to_secret(&self) -> Option<Secret> {
        Secret::new(self.0.to_vec()).ok()
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// The configuration of the receiver.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The scheme that is expected.
    pub scheme: Scheme,
    /// The provider of the scheme, unless the operator has described the scheme.
    pub provider: Option<Provider>,
    /// The chosen variant of the scheme, if any.
    pub variant: Option<String>,
    /// The secrets. The first one is in use.
    pub secrets: Vec<SecretText>,
    /// The public URL of the endpoint, if it is known.
    pub url: Option<String>,
    /// The parameters of the scheme.
    pub params: Vec<(String, String)>,
    /// The window for timestamps, unless it is the scheme's.
    pub window: Option<Window>,
}

impl Setup {
    /// Adds the inputs that the scheme needs and the operator has not set, because another
    /// scheme was expected: parameters, and the URL that the request shows.
    pub(crate) fn complete(&mut self, capture: &Capture) {
        let known = |name: &str| self.params.iter().any(|(known, _)| known == name);
        let missing: Vec<_> = self.scheme.params().filter(|name| !known(name)).collect();
        let missing = missing
            .into_iter()
            .map(|name| (name.to_owned(), UNKNOWN.to_owned()));
        self.params.extend(missing.collect::<Vec<_>>());
        if self.scheme.needs_url() && self.url.is_none() {
            let requested = forwarding::requested(&capture.headers, capture.target.as_ref());
            self.url = requested.into_iter().next();
        }
    }

    /// Returns the name of the provider for messages.
    pub(crate) fn title(&self) -> &str {
        self.provider
            .as_ref()
            .map_or("this scheme", Provider::title)
    }
}
