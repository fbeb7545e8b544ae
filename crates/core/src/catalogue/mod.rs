//! The catalogue of providers. Each is one TOML file under `providers/`, compiled into the
//! crate; to add a provider is to add a file.
//!
//! [`Provider`] is a provider whose scheme is known, [`UndocumentedProvider`] one that signs
//! but does not say how. Everything that knows the names of providers belongs here: the
//! modules `scheme` and `verifier` read no file of the catalogue.

mod extends;
mod files;
mod provider;
mod published;
mod undocumented;

pub use self::extends::read_scheme;
pub use self::provider::{Events, Provider, SchemeEvidence};
pub(crate) use self::published::published_secrets;
pub use self::undocumented::UndocumentedProvider;
