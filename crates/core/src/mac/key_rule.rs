//! How the text of a secret becomes a key.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::public_key;
use crate::error::SecretError;
use crate::secret::Secret;

/// How the text of a secret becomes a key.
///
/// The rule is a property of the provider: three providers give the prefix `whsec_` three
/// different meanings.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    /// Prefix of the secrets that this variant of the scheme uses. Secrets with another prefix
    /// belong to other variants.
    pub(crate) only: Option<String>,
    /// Prefixes to remove, in this order. Each is optional.
    pub(crate) strip: Vec<String>,
    pub(crate) encoding: KeyEncoding,
    pub(crate) scope: KeyEncodingScope,
    /// Digest to take of the decoded secret. The result is the key.
    pub(crate) digest: KeyDigest,
}

/// The readings of a secret: at least one rule, and at most two.
///
/// A provider that has changed how its secrets become keys has two. Each reading that a secret
/// fits is a key of its own.
#[derive(Clone, Debug)]
pub(crate) struct KeyReadings(Vec<KeyRule>);

impl KeyReadings {
    /// Creates the readings of a scheme. No rule means the default rule.
    pub(crate) fn new(mut rules: Vec<KeyRule>) -> Self {
        if rules.is_empty() {
            rules.push(KeyRule::default());
        }
        Self(rules)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeyRule> {
        self.0.iter()
    }

    /// Whether `secret` has the prefix that one of the readings is for.
    pub(crate) fn is_for(&self, secret: &Secret) -> bool {
        self.iter().any(|rule| rule.is_for(secret))
    }

    /// Decodes `secret` by each reading that it fits. Two readings with the same result count
    /// once. Returns nothing if the secret has no prefix that a reading is for.
    ///
    /// # Errors
    ///
    /// Returns an error if readings are for `secret`, and it decodes by none of them.
    pub(crate) fn decode(&self, secret: &Secret) -> Result<Vec<Zeroizing<Vec<u8>>>, SecretError> {
        let mut keys: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut error = None;
        for rule in self.iter().filter(|rule| rule.is_for(secret)) {
            match rule.decode(secret) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(found) => error = Some(SecretError::of_readings(error, found)),
            }
        }
        match error {
            Some(error) if keys.is_empty() => Err(error),
            _ => Ok(keys),
        }
    }
}

/// The secrets that the encoding applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyEncodingScope {
    #[default]
    Always,
    /// Secrets that have one of the prefixes. The text of other secrets is the key.
    IfPrefixed,
}

/// The digest to take of a decoded secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyDigest {
    #[default]
    None,
    Sha1,
}

/// The encoding of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    #[default]
    Utf8,
    Base64,
    Base64Url,
    Hex,
    /// PEM (RFC 7468): a public key or a certificate. To sign, a private key.
    Pem,
}

/// Creates a decoder that accepts secrets with and without padding, because providers show both.
const fn secret_base64(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(
        alphabet,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    )
}
const SECRET_BASE64: GeneralPurpose = secret_base64(&alphabet::STANDARD);
const SECRET_BASE64_URL: GeneralPurpose = secret_base64(&alphabet::URL_SAFE);

impl KeyRule {
    /// Whether `secret` has the prefix that this rule is for.
    pub(crate) fn is_for(&self, secret: &Secret) -> bool {
        let only = self.only.as_deref().unwrap_or_default();
        secret.expose().starts_with(only.as_bytes())
    }

    /// Decodes `secret` to the bytes of its key.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Encoding`] if the text does not have the encoding of the rule,
    /// and [`SecretError::Blank`] if the key is empty.
    pub(crate) fn decode(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut text = secret.expose();
        for prefix in &self.strip {
            text = text.strip_prefix(prefix.as_bytes()).unwrap_or(text);
        }
        let encoding = match self.scope {
            KeyEncodingScope::IfPrefixed if text.len() == secret.expose().len() => {
                KeyEncoding::Utf8
            }
            _ => self.encoding,
        };
        // The decoders' errors are left out: they show characters of the secret.
        let key = Zeroizing::new(match encoding {
            KeyEncoding::Utf8 => text.to_vec(),
            KeyEncoding::Base64 => {
                let key = SECRET_BASE64.decode(text).ok();
                key.ok_or(SecretError::Encoding("base64, standard alphabet"))?
            }
            KeyEncoding::Base64Url => {
                let key = SECRET_BASE64_URL.decode(text).ok();
                key.ok_or(SecretError::Encoding("base64url"))?
            }
            KeyEncoding::Hex => {
                let key = hex::decode(text).ok();
                key.ok_or(SecretError::Encoding("hexadecimal digits"))?
            }
            KeyEncoding::Pem => public_key::read_pem(text)?,
        });
        // HMAC accepts the empty key, and anyone could sign with it.
        if key.is_empty() {
            return Err(SecretError::Blank);
        }
        Ok(match self.digest {
            KeyDigest::None => key,
            KeyDigest::Sha1 => Zeroizing::new(Sha1::digest(&key).to_vec()),
        })
    }

    /// Encodes the text of a secret that decodes to `key`, before the digest of the rule.
    ///
    /// Returns `None` if no text with the prefix of the rule does.
    pub(crate) fn encode(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let encoded = Zeroizing::new(match self.encoding {
            KeyEncoding::Utf8 => key.to_vec(),
            KeyEncoding::Base64 => SECRET_BASE64.encode(key).into_bytes(),
            KeyEncoding::Base64Url => SECRET_BASE64_URL.encode(key).into_bytes(),
            KeyEncoding::Hex => hex::encode(key).into_bytes(),
            KeyEncoding::Pem => public_key::write_pem(key)?.into_bytes(),
        });
        let text = Zeroizing::new([self.strip.concat().as_bytes(), &encoded].concat());
        let only = self.only.as_deref().unwrap_or_default();
        text.starts_with(only.as_bytes()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_key_decodes_to_itself() {
        let rule = |encoding, strip: &str, scope| KeyRule {
            only: None,
            strip: vec![strip.to_owned()],
            encoding,
            scope,
            digest: KeyDigest::None,
        };
        for encoding in [
            KeyEncoding::Utf8,
            KeyEncoding::Base64,
            KeyEncoding::Base64Url,
            KeyEncoding::Hex,
            KeyEncoding::Pem,
        ] {
            for scope in [KeyEncodingScope::Always, KeyEncodingScope::IfPrefixed] {
                let strip = match encoding {
                    KeyEncoding::Pem => "",
                    _ => "whsec_",
                };
                let rule = rule(encoding, strip, scope);
                let key = b"\xfbkey \xff~?";
                let text = rule.encode(key).unwrap();
                let secret = Secret::new(text.to_vec()).unwrap();
                match (encoding, scope) {
                    // Without a prefix there is nothing that the scope could depend on.
                    (KeyEncoding::Pem, KeyEncodingScope::IfPrefixed) => {}
                    _ => assert_eq!(*rule.decode(&secret).unwrap(), key, "{encoding:?}"),
                }
            }
        }
    }

    #[test]
    fn a_key_without_the_prefix_of_the_rule_has_no_text() {
        let rule = KeyRule {
            only: Some("whsec_".to_owned()),
            ..KeyRule::default()
        };
        assert!(rule.encode(b"whsec_key").is_some());
        assert!(rule.encode(b"key").is_none());
    }
}
