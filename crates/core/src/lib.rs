//! Verification of signed webhook deliveries, for any provider that is described as data.
//!
//! The crate is sans-I/O: it opens no socket, reads no clock and needs no async runtime. A
//! [`Verifier`] checks a delivery in two steps: first its [`Head`], then its body. Only a
//! delivery that passes both becomes a [`Verified`].
//!
//! ```
//! use bytes::Bytes;
//! use hookgate_core::{
//!     HeadOutcome, Head, Provider, Secret, Signer, UnixTime, Verifier, VerifyError,
//! };
//! use http::{HeaderMap, Method, Uri};
//!
//! let beatapi = Provider::named("beatapi").expect("in the catalogue");
//! let secret = Secret::new("whsec_5f0c8a6de2b94a13")?;
//! let verifier = Verifier::builder(beatapi.scheme()).key(secret.clone()).build()?;
//!
//! let now = UnixTime::from_secs(1_784_187_600);
//! let body = Bytes::from_static(br#"{"id":"evt_1","event":"task.succeeded"}"#);
//! let headers = Signer::new(beatapi.scheme(), &secret)?.sign(&body, now, None)?;
//! let (method, uri) = (Method::POST, Uri::from_static("/hooks/beatapi"));
//! let head = Head::new(&method, &uri, &headers);
//!
//! // A genuine delivery: check the head first, then pass the body chunk by chunk.
//! let HeadOutcome::Delivery(mut pending) = verifier.begin(head, now)? else { panic!("a handshake") };
//! pending.push(body.clone());
//! let verified = pending.finish(now)?.delivery().expect("no handshake");
//! assert_eq!(verified.id(), Some("evt_1"));
//! assert_eq!(verified.body(), &body);
//!
//! // A delivery whose body was changed, checked in one call.
//! let forged = Bytes::from_static(br#"{"id":"evt_2","event":"task.succeeded"}"#);
//! let refused = verifier.verify(head, forged, now).unwrap_err();
//! assert_eq!(refused, VerifyError::SignatureMismatch);
//!
//! // A delivery without a signature is refused before a byte of its body is read.
//! let bare = HeaderMap::new();
//! let refused = verifier.begin(Head::new(&method, &uri, &bare), now).unwrap_err();
//! assert_eq!(refused, VerifyError::SignatureMissing);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod catalogue;
mod document;
mod error;
mod error_chain;
mod head;
mod identity;
#[doc(hidden)]
pub mod internal;
mod limits;
mod mac;
#[cfg_attr(
    not(feature = "rfc9421"),
    expect(dead_code, reason = "a scheme of RFC 9421 is only described")
)]
mod message_signature;
mod multipart;
pub mod scheme;
mod secret;
mod signer;
mod suggestion;
mod time;
mod units;
mod verifier;

pub use self::catalogue::{
    Acknowledgement, EqualBytes, ExpectedResponses, Fact, Facts, Provider, Retries, SchemeEvidence,
    UndocumentedProvider, UnknownProvider,
};
pub use self::document::{Problem, Problems};
pub use self::error::{SecretError, VerifyError};
pub use self::head::Head;
pub use self::identity::{Identity, ReplayKey, ReplayScope};
pub use self::limits::{MAX_CANDIDATES, MAX_KEYS};
pub use self::scheme::{KeyReference, Scheme, SchemeFamily, SchemeWarning, Variant};
pub use self::secret::Secret;
pub use self::signer::{SignError, Signer, SignerBuilder};
pub use self::time::{UnixTime, Window};
pub use self::verifier::{
    BuildError, Chunk, FetchedKey, HeadOutcome, Key, Pending, RequestOutcome, Verified, Verifier,
    VerifierBuilder,
};
