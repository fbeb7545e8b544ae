//! How the text of a secret becomes a key.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::public_key;
use crate::error::SecretError;
use crate::secret::Secret;

/// How the text of a secret becomes a key. A property of the provider: three
/// providers hand out `whsec_…` and mean three different things.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    /// Prefix of the secrets that are meant; others are for other variants.
    pub(crate) only: Option<String>,
    /// Prefixes to take off in this order, each if it is there.
    pub(crate) strip: Vec<String>,
    pub(crate) encoding: KeyEncoding,
    pub(crate) scope: KeyEncodingScope,
    /// Whether the key is the SHA-1 digest of what was decoded.
    pub(crate) digest: KeyDigest,
}

/// To which secrets the encoding applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyEncodingScope {
    #[default]
    Always,
    /// Only to those that have a prefix; others are taken as they are.
    IfPrefixed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyDigest {
    #[default]
    None,
    Sha1,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyEncoding {
    #[default]
    Utf8,
    Base64,
    Base64Url,
    Hex,
    /// RFC 7468: a public key or a certificate; to sign, a private key.
    Pem,
}

/// Secrets are shown with and without padding; both mean the same bytes.
const fn secret_base64(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(
        alphabet,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    )
}
const SECRET_BASE64: GeneralPurpose = secret_base64(&alphabet::STANDARD);
const SECRET_BASE64_URL: GeneralPurpose = secret_base64(&alphabet::URL_SAFE);

impl KeyRule {
    /// Whether the key that `secret` decodes to is short enough to be guessed.
    pub(crate) fn is_weak(&self, secret: &Secret) -> bool {
        self.decode(secret)
            .is_ok_and(|key| key.len() < Secret::WEAK_LEN)
    }

    /// Whether `secret` is one of those that the rule is about.
    pub(crate) fn is_for(&self, secret: &Secret) -> bool {
        let only = self.only.as_deref().unwrap_or_default();
        secret.expose().starts_with(only.as_bytes())
    }

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
        let key = Zeroizing::new(match encoding {
            KeyEncoding::Utf8 => text.to_vec(),
            KeyEncoding::Base64 => SECRET_BASE64
                .decode(text)
                .map_err(|_| SecretError::Encoding("base64, standard alphabet"))?,
            KeyEncoding::Base64Url => SECRET_BASE64_URL
                .decode(text)
                .map_err(|_| SecretError::Encoding("base64url"))?,
            KeyEncoding::Hex => {
                hex::decode(text).map_err(|_| SecretError::Encoding("hexadecimal digits"))?
            }
            KeyEncoding::Pem => public_key::read_pem(text)?,
        });
        // The empty key is a valid HMAC key: anybody could sign with it.
        if key.is_empty() {
            return Err(SecretError::Blank);
        }
        Ok(match self.digest {
            KeyDigest::None => key,
            KeyDigest::Sha1 => Zeroizing::new(Sha1::digest(&key).to_vec()),
        })
    }
}
