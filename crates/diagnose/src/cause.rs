//! The causes of a failed verification, and their stable codes.

use std::borrow::Cow;
use std::fmt;

/// Declares [`Code`] from one table: documentation, variant, code, and what to do.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident, $code:literal, $fix:literal;)+) => {
        /// The kind of a cause. The text of a code is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, for tables.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the stable text of the code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// Returns what to do about a cause of this kind, as one sentence.
            pub const fn fix(self) -> &'static str {
                match self {
                    $(Self::$variant => $fix,)+
                }
            }
        }
    };
}

codes! {
    /// JSON was parsed and written anew.
    BodyJsonRewritten, "body_json_rewritten",
        "verify the raw body before any JSON parser reads it, such as Flask `request.get_data()` or Express `express.raw()`";
    /// JSON was encoded twice, or put inside another document, or only a part was kept.
    BodyJsonWrapped, "body_json_wrapped",
        "verify the bytes that the provider sent, not the document around those bytes, and not a shorter part";
    /// The text of the body was edited: line ends, a byte order mark, white space at its ends.
    BodyTextEdited, "body_text_edited",
        "store and forward the body as bytes, because text tools change line ends and byte order marks";
    /// The body has another character encoding.
    BodyCharset, "body_charset",
        "read the body as bytes, and decode it to text after the verification";
    /// The body was escaped for HTML, a URL, or a string literal.
    BodyEscaped, "body_escaped",
        "take the body from the request, not from a log, a page or a form that escapes it";
    /// The body is base64, or an API-gateway event.
    BodyBase64, "body_base64",
        "decode the body from base64 before the verification, and verify the decoded bytes";
    /// The body is compressed, or was decompressed.
    BodyCompressed, "body_compressed",
        "verify the body in the form that the provider signed, and disable compression and decompression in front of the verification";
    /// The body was cut off or doubled.
    BodyTruncated, "body_truncated",
        "read the body to its end once, and raise the body limits of proxies and frameworks";
    /// The body is empty or a stand-in for an empty one.
    BodyMissing, "body_missing",
        "read the raw body before any other code consumes the stream of the request";
    /// A form was decoded and encoded anew.
    BodyFormRewritten, "body_form_rewritten",
        "verify the raw bytes of the form before any parser reads its fields";
    /// A form became JSON, or the reverse.
    BodyTypeChanged, "body_type_changed",
        "forward the body in the content type that the provider sent";
    /// The signed address differs.
    UrlMismatch, "url_mismatch",
        "configure the URL exactly as it is entered at the provider";
    /// Another method was signed.
    MethodMismatch, "method_mismatch",
        "forward the request with the method that the provider used";
    /// The right secret was read in the wrong way.
    SecretDecoding, "secret_decoding",
        "store the secret exactly as the provider shows it, without decoding or encoding it";
    /// The secret was copied with additions or losses.
    SecretCopiedBadly, "secret_copied_badly",
        "copy the secret again from the provider, without quotes, white space or a variable name";
    /// Another credential is in place of the signing secret.
    SecretWrongKind, "secret_wrong_kind",
        "configure the signing secret of the webhook endpoint, not an API key, a token or an id";
    /// The secret is a placeholder that was not replaced.
    SecretPlaceholder, "secret_placeholder",
        "replace the placeholder with the signing secret, or set the variable that it names";
    /// The secret is well-formed, and another one.
    SecretOther, "secret_other",
        "compare the secret with the provider's page of this endpoint and this environment";
    /// A field that the scheme reads is missing.
    HeaderMissing, "header_missing",
        "forward the header, and check which proxy drops or renames it";
    /// A field that the scheme reads was changed.
    HeaderAltered, "header_altered",
        "forward the header unchanged";
    /// A field occurs more than once, or fields of two schemes occur.
    HeaderRepeated, "header_repeated",
        "forward each header once, and only the headers of one scheme";
    /// The timestamp has another unit or format.
    TimestampFormat, "timestamp_format",
        "forward the timestamp header as the provider sent it";
    /// The signature matches, but it is too old.
    TimestampTooOld, "timestamp_too_old",
        "check the clock of this machine and the delay of queues in front of it";
    /// The signature matches, but its time is in the future.
    TimestampTooNew, "timestamp_too_new",
        "synchronise the clocks of sender and receiver";
    /// Another provider's scheme has signed the delivery.
    OtherProvider, "other_provider",
        "configure the provider whose scheme has signed the delivery";
    /// Another variant of the provider's scheme has signed the delivery.
    OtherVariant, "other_variant",
        "configure the variant that has signed the delivery, or remove `variant` to accept each default variant";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A cause of a failed verification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The kind of the cause.
    pub code: Code,
    /// Whether the signature verifies once the cause, and the other proved causes, are undone.
    pub proved: bool,
    /// A sentence that says what happened.
    pub summary: Cow<'static, str>,
    /// A sentence that says what to do.
    pub fix: Cow<'static, str>,
}

impl Cause {
    /// Creates the cause of a delivery whose signature matches a secret outside of its period.
    pub fn inactive_secret() -> Self {
        let summary = "the delivery is signed with a secret that is not valid at its arrival";
        Self::new(Code::SecretOther, summary)
            .with_fix("change `not_before` or `not_after` of the secret, or use a valid secret")
            .into_proved()
    }

    /// Creates a cause with the usual fix of its code.
    pub(crate) fn new(code: Code, summary: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            proved: false,
            summary: summary.into(),
            fix: code.fix().into(),
        }
    }

    /// Replaces the usual fix.
    #[must_use]
    pub(crate) fn with_fix(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.fix = fix.into();
        self
    }

    pub(crate) fn into_proved(mut self) -> Self {
        self.proved = true;
        self
    }
}
