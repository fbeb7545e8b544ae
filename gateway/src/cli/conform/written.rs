//! Changes to the text of a signature header and of a timestamp.

use hookgate_core::internal::{Format, Place};
use http::{HeaderName, HeaderValue, Request};

/// The text of a signature header, divided at its signature.
pub(super) struct SignatureText {
    pub(super) header: HeaderName,
    /// Everything before the signature: other items, a name, a prefix.
    pub(super) before: String,
    pub(super) tag: String,
    pub(super) after: String,
}

impl SignatureText {
    /// Finds the signature of `request`. Returns `None` if no header has it.
    pub(super) fn find<B>(format: Format<'_>, request: &Request<B>) -> Option<Self> {
        let mut names = format.signature_headers().into_iter();
        let header = names.find(|name| request.headers().contains_key(*name))?;
        let text = request.headers()[header].to_str().ok()?;
        let (start, end) = signature_item(format, text);
        let prefix = format.signature_prefix();
        let start = match text[start..end].starts_with(prefix) {
            true => start + prefix.len(),
            false => start,
        };
        Some(Self {
            header: header.clone(),
            before: text[..start].to_owned(),
            tag: text[start..end].to_owned(),
            after: text[end..].to_owned(),
        })
    }

    /// Returns the header with another signature.
    pub(super) fn with_tag(&self, tag: &str) -> String {
        format!("{}{tag}{}", self.before, self.after)
    }

    /// Returns the signature with another character in its middle.
    pub(super) fn changed_tag(&self) -> String {
        let mut bytes = self.tag.clone().into_bytes();
        let middle = bytes.len() / 2;
        let at = (middle..bytes.len()).find(|at| bytes[*at].is_ascii_alphanumeric());
        if let Some(at) = at {
            // Both letters are digits of hex and of base64, and differ in either case.
            bytes[at] = match bytes[at].to_ascii_lowercase() {
                b'a' => b'b',
                _ => b'a',
            };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns another text that lenient decoders read as the same signature: base64 with unused
    /// bits that are not zero. Returns `None` if the signature has no unused bits.
    pub(super) fn respelled_tag(&self) -> Option<String> {
        let digits = self.tag.trim_end_matches('=');
        if digits.len() == self.tag.len() || !self.tag.len().is_multiple_of(4) {
            return None;
        }
        // The unused bits of a genuine signature are zero, so the next digit has the same other bits.
        let last = u8::try_from(digits.chars().next_back()?).ok()?;
        let next = char::from(last.checked_add(1)?);
        let (kept, padding) = (&digits[..digits.len() - 1], &self.tag[digits.len()..]);
        Some(format!("{kept}{next}{padding}"))
    }

    /// Returns the header with another version or algorithm before the signature. Returns `None`
    /// if there is neither.
    pub(super) fn with_other_version(&self, format: Format<'_>) -> Option<String> {
        let list = format.list();
        let named = list.and_then(|list| Some((list.name?, list.pair?)));
        let (old, new) = match named {
            Some((name, pair)) => (format!("{name}{pair}"), format!("x{name}{pair}")),
            None if format.signature_prefix().is_empty() => return None,
            None => {
                let prefix = format.signature_prefix();
                (prefix.to_owned(), format!("x{prefix}"))
            }
        };
        let before = self.before.strip_suffix(&old)?;
        Some(format!("{before}{new}{}{}", self.tag, self.after))
    }
}

/// Returns the start and the end of the signature in the list of `text`, or those of `text`.
fn signature_item(format: Format<'_>, text: &str) -> (usize, usize) {
    let Some(list) = format.list() else {
        return (0, text.len());
    };
    let mut start = 0;
    let mut longest = (0, 0);
    for item in text.split(list.separator) {
        let end = start + item.len();
        let (name, value) = match list.pair.and_then(|pair| item.split_once(pair)) {
            Some((name, value)) => (Some(name.trim()), value),
            None => (None, item),
        };
        let at = (end - value.len(), end);
        if list.name.is_some() && name == list.name {
            return at;
        }
        if value.len() > longest.1 - longest.0 {
            longest = at;
        }
        start = end + list.separator.len_utf8();
    }
    longest
}

/// Returns the text of the timestamp, if the head of `request` has one.
pub(super) fn timestamp_text<B>(format: Format<'_>, request: &Request<B>) -> Option<String> {
    let (header, name) = timestamp_place(format, request)?;
    let text = request.headers()[&header].to_str().ok()?;
    match name {
        None => Some(text.to_owned()),
        Some(name) => {
            let (start, end) = named_item(format, text, name)?;
            Some(text[start..end].to_owned())
        }
    }
}

/// Replaces the timestamp in the head of `request`. Does nothing if the head has none.
pub(super) fn set_timestamp<B>(format: Format<'_>, request: &mut Request<B>, timestamp: &str) {
    let Some((header, name)) = timestamp_place(format, request) else {
        return;
    };
    let text = request.headers()[&header].to_str().unwrap_or_default();
    let changed = match name.map(|name| named_item(format, text, name)) {
        None => timestamp.to_owned(),
        Some(None) => return,
        Some(Some((start, end))) => format!("{}{timestamp}{}", &text[..start], &text[end..]),
    };
    if let Ok(value) = HeaderValue::try_from(changed) {
        request.headers_mut().insert(header, value);
    }
}

/// Returns the header with the timestamp, and the name of its item if the header is a list.
fn timestamp_place<'f, B>(
    format: Format<'f>,
    request: &Request<B>,
) -> Option<(HeaderName, Option<&'f str>)> {
    let headers = request.headers();
    let place = match format.timestamp()? {
        Place::Header(name) => (name.clone(), None),
        Place::Item(name) => {
            let mut names = format.signature_headers().into_iter();
            let header = names.find(|name| headers.contains_key(*name))?;
            (header.clone(), Some(name))
        }
    };
    headers.contains_key(&place.0).then_some(place)
}

/// Returns the start and the end of the value of the item `name`.
fn named_item(format: Format<'_>, text: &str, name: &str) -> Option<(usize, usize)> {
    let list = format.list()?;
    let mut start = 0;
    for item in text.split(list.separator) {
        let end = start + item.len();
        if let Some((key, value)) = item.split_once(list.pair?)
            && key.trim() == name
        {
            return Some((end - value.len(), end));
        }
        start = end + list.separator.len_utf8();
    }
    None
}

#[cfg(test)]
mod tests {
    use hookgate_core::Provider;
    use hookgate_core::internal::formats;

    use super::*;

    fn request(name: &'static str, value: &str) -> Request<()> {
        Request::post("/").header(name, value).body(()).unwrap()
    }

    #[test]
    fn a_signature_is_found_in_a_list_and_behind_a_prefix() {
        for (provider, name, value, before, tag) in [
            (
                "stripe",
                "stripe-signature",
                "t=17,v1=abcd",
                "t=17,v1=",
                "abcd",
            ),
            (
                "standard-webhooks",
                "webhook-signature",
                "v1,abc=",
                "v1,",
                "abc=",
            ),
            (
                "github",
                "x-hub-signature-256",
                "sha256=ab",
                "sha256=",
                "ab",
            ),
            ("shopify", "x-shopify-hmac-sha256", "abc=", "", "abc="),
        ] {
            let provider = Provider::named(provider).unwrap();
            let format = formats(provider.scheme(), None)[0];
            let found = SignatureText::find(format, &request(name, value)).unwrap();
            assert_eq!((&*found.before, &*found.tag), (before, tag), "{name}");
            assert_eq!(found.with_tag(tag), value);
            let other = found.with_other_version(format);
            assert_eq!(other.is_none(), before.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_respelled_signature_decodes_to_the_same_bytes() {
        use base64::Engine;
        use base64::alphabet::STANDARD;
        use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let lenient = GeneralPurpose::new(&STANDARD, config);
        for byte in 0..=255 {
            for len in [20, 32, 64] {
                let bytes = vec![byte; len];
                let text = SignatureText {
                    header: HeaderName::from_static("a"),
                    before: String::new(),
                    tag: lenient.encode(&bytes),
                    after: String::new(),
                };
                let other = text.respelled_tag().unwrap();
                assert_ne!(other, text.tag);
                assert_eq!(lenient.decode(other).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_timestamp_is_replaced_in_a_header_and_in_a_list() {
        for (provider, name, value, expected) in [
            ("stripe", "stripe-signature", "t=17,v1=ab", "t=x,v1=ab"),
            ("slack", "x-slack-request-timestamp", "17", "x"),
        ] {
            let provider = Provider::named(provider).unwrap();
            let format = formats(provider.scheme(), None)[0];
            let mut request = request(name, value);
            assert_eq!(timestamp_text(format, &request).as_deref(), Some("17"));
            set_timestamp(format, &mut request, "x");
            assert_eq!(request.headers()[name], expected);
        }
    }
}
