//! The fetcher of the keys that a provider publishes, which the feature `keys` adds.

#[cfg(feature = "keys")]
pub(crate) use hookgate_keys::KeyFetcher;

/// No source has a fetcher without the feature `keys`.
#[cfg(not(feature = "keys"))]
#[derive(Clone, Debug)]
pub(crate) enum KeyFetcher {}

#[cfg(not(feature = "keys"))]
impl KeyFetcher {
    #[expect(
        clippy::unused_async,
        reason = "the fetcher of the feature `keys` is async"
    )]
    pub(crate) async fn key(
        &self,
        _: &hookgate_core::KeyReference,
        _: Option<std::net::IpAddr>,
        _: hookgate_core::UnixTime,
    ) -> Result<hookgate_core::FetchedKey, hookgate_core::VerifyError> {
        match *self {}
    }

    pub(crate) fn claimed(&self, _: Option<std::net::IpAddr>) {
        match *self {}
    }
}
