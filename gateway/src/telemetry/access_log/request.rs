//! The facts about a request in the access log.

use std::borrow::Cow;

/// Facts about a request, from its head. Its sender may have invented each of them.
#[derive(Debug)]
pub(crate) struct RequestFacts<'r> {
    pub(crate) method: &'r str,
    /// The path without its query, cut.
    pub(crate) path: &'r str,
    /// Method, host and path, only if no source has the request.
    pub(crate) request_target: Option<String>,
    /// The declared length of the body.
    pub(crate) content_length: Option<u64>,
    pub(crate) content_type: Option<SenderText<'r>>,
    pub(crate) user_agent: Option<SenderText<'r>>,
    /// The id that the provider gives each delivery, in a header that is not signed.
    pub(crate) delivery_id: Option<SenderText<'r>>,
    /// The signed headers, only if the refusal is the sender's fault.
    pub(crate) signed: Option<SignedHeaders>,
}

/// The value of a header, cut. It can contain any byte that HTTP allows in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderText<'t>(pub(crate) &'t [u8]);

impl<'t> SenderText<'t> {
    /// Returns the text, in which U+FFFD replaces bytes that are no UTF-8.
    pub(crate) fn to_text(self) -> Cow<'t, str> {
        String::from_utf8_lossy(self.0)
    }
}

/// The headers of a refused request that replace a capture.
#[derive(Debug)]
pub(crate) struct SignedHeaders {
    /// The headers that the scheme reads, each with its length and its shape.
    pub(crate) shapes: String,
    /// How many seconds the request arrived after its timestamp.
    pub(crate) age_s: Option<i64>,
}
