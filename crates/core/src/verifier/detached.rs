//! JSON Web Signatures whose payload is not in the token (RFC 7515 appendix F): the message is the
//! payload.

use super::Verifier;
use super::head_segments::HeadSegments;
use super::head_view::HeadView;
use crate::error::VerifyError;
use crate::scheme::Plan;
use crate::scheme::field::Encoding;
use crate::scheme::location::Location;
use crate::scheme::template::Variable;

impl Verifier {
    /// Renders the segments of the payload that come from the head.
    ///
    /// # Errors
    ///
    /// Returns [`VerifyError::FieldMissing`] if the header of the signature does not list a
    /// header that the plan reads: the signature would not cover it.
    pub(super) fn read_payload(
        &self,
        plan: &Plan,
        view: &HeadView<'_>,
    ) -> Result<HeadSegments, VerifyError> {
        for value in plan.message.placeholders() {
            let Variable::HeaderLines(member) = &value.variable else {
                continue;
            };
            let listed = view.listed_names(member)?;
            for name in plan.listed_headers() {
                if !listed.iter().any(|(_, listed)| listed == name) {
                    return Err(VerifyError::FieldMissing);
                }
            }
        }
        HeadSegments::new(&plan.message, view)
    }
}

impl Plan {
    /// Returns the headers that the header of a JSON Web Signature must list.
    pub(crate) fn listed_headers(&self) -> impl Iterator<Item = &http::HeaderName> {
        let timestamp = self.timestamp.iter().map(|timestamp| &timestamp.location);
        let ids = self.id.iter().flat_map(|id| &id.locations);
        let required = self.require.iter().map(|required| &required.location);
        timestamp
            .chain(ids)
            .chain(&self.event_type)
            .chain(required)
            .filter_map(|location| match location {
                Location::Header(name) => Some(name),
                _ => None,
            })
    }
}

/// Returns the input of the signature: the encoded header, a dot, and the encoded payload.
///
/// `message` is the encoded header, a dot, and the payload. An encoded header has no dot.
pub(crate) fn signing_input(message: &[u8]) -> Vec<u8> {
    let dot = message.iter().position(|byte| *byte == b'.');
    let (header, payload) = message.split_at(dot.map_or(0, |dot| dot + 1));
    [header, Encoding::Base64Url.encode(payload).as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signer has the same function, so a signed delivery would not show an error.
    #[test]
    fn only_the_payload_is_encoded_for_the_signature() {
        for (message, expected) in [
            ("eyJ9.payload", "eyJ9.cGF5bG9hZA"),
            ("eyJ9.a.b", "eyJ9.YS5i"),
            ("eyJ9.", "eyJ9."),
        ] {
            assert_eq!(signing_input(message.as_bytes()), expected.as_bytes());
        }
    }
}
