//! The catalogue of providers. Each is one TOML file under `providers/`; to add a provider is to
//! add a file, and to run `make catalogue`.
//!
//! A [`Provider`] has a scheme. An [`UndocumentedProvider`] signs its deliveries, but does not
//! document the scheme. All code that knows providers by name belongs here: the modules
//! `scheme` and `verifier` read no file of the catalogue.

mod equal_bytes;
mod extends;
mod facts;
mod files;
mod provider;
mod published;
mod response;
mod undocumented;
mod unknown;

pub use self::extends::read_scheme;
pub use self::facts::{EqualBytes, Fact, Facts, Retries};
pub use self::provider::{Provider, SchemeEvidence};
pub(crate) use self::published::published_secrets;
pub use self::response::{Acknowledgement, ExpectedResponses};
pub use self::undocumented::UndocumentedProvider;
pub use self::unknown::UnknownProvider;
