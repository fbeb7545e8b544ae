//! Public keys that a receiver fetches from a webhook provider.
//!
//! A delivery names the key that has signed it. [`KeyFetcher`] turns that name into a key:
//!
//! * The name only selects inside of the addresses that the scheme or the operator pins.
//! * Documents are cached. The last good keys survive an outage of the provider.
//! * One request at a time is under way for a document, with limits of time and size.
//! * A budget bounds the requests that unknown names cause, and keeps a share for clients whose
//!   deliveries have verified. A flood of unknown names does not keep a new key out.
//!
//! The crate needs no HTTP client: it calls a [`FetchDocument`]. The feature `client` has one.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod budget;
mod certificate;
#[cfg(feature = "client")]
mod client;
mod document;
mod fetch;
mod fetcher;
mod jwk;
mod request;
mod settings;
mod slot;
mod state;
mod stats;
mod target;

pub use self::address::Address;
#[cfg(feature = "client")]
pub use self::client::{AddressPolicy, HttpsClient, TlsError};
pub use self::document::{DocumentError, read_keys};
pub use self::fetch::{Document, DocumentRequest, FetchDocument, FetchError, FetchFuture};
pub use self::fetcher::KeyFetcher;
pub use self::settings::{CertificateChain, KeySettings, SettingsError};
pub use self::stats::{FetchResult, KeyStats};
