//! Signing a prepared request, in the four forms that schemes have: a template, the elements of
//! an array, a JSON Web Token, and an HTTP message signature.

use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::SignError;
use super::draft::Draft;
use crate::scheme::field::Encoding;
use crate::scheme::location::Location;
use crate::scheme::signature::SignatureLocation;
use crate::scheme::template::Variable;
use crate::scheme::{JwtAlgorithm, SignatureKind};
use crate::time::UnixTime;
use crate::verifier::{Claims, SigningInput, detached_signing_input};

/// Time from the signing of a token to its expiry.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

impl Draft<'_> {
    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let len = self.plan.algorithm.tag_len().max();
        self.key.signature(len, message)
    }

    /// Returns the name of the signature in its list, if a parameter names it.
    fn own_name(&self) -> Option<&str> {
        let list = self.plan.signature.list.as_ref()?;
        match list.writing.named_by.as_ref()? {
            Location::Param(name) => self.signer.settings.params.get(name).map(|value| &**value),
            _ => None,
        }
    }

    /// Signs the message of the scheme's template.
    pub(super) fn sign_message(&mut self) -> Result<(), SignError> {
        let list = self.plan.signature.list.as_ref();
        let list = list.map(|list| list.write(&self.items, self.own_name(), ""));
        let message = self.signing_input(list.as_deref()).message()?;
        let signature = self.signature(&message)?;
        let value = self
            .plan
            .signature
            .write(&self.items, self.own_name(), &signature);
        match &self.plan.signature.location {
            SignatureLocation::HeaderPrefix(prefix) => {
                let name = HeaderName::from_bytes(format!("{prefix}1").as_bytes()).ok();
                let name = name.ok_or(SignError::FieldMalformed)?;
                self.insert(&Location::Header(name), value.as_bytes())
            }
            SignatureLocation::Locations(locations) => match locations.first() {
                Some(location) => self.insert(location, value.as_bytes()),
                None => Ok(()),
            },
        }
    }

    /// Signs each element of an array in the body. A single object becomes an array.
    pub(super) fn sign_elements(&mut self) -> Result<(), SignError> {
        let (Some(array), SignatureLocation::Locations(locations)) =
            (&self.plan.each, &self.plan.signature.location)
        else {
            return Ok(());
        };
        let body = serde_json::from_slice(&self.body).ok();
        let mut body: Value = body.ok_or(SignError::BodyNotJson)?;
        let elements = array.get_mut(&mut body).ok_or(SignError::BodyNotJson)?;
        if elements.is_null() {
            *elements = Value::Array(vec![Value::Object(Map::new())]);
        } else if elements.is_object() {
            *elements = Value::Array(vec![elements.take()]);
        }
        let elements = elements.as_array_mut().ok_or(SignError::BodyNotJson)?;
        let is_token = matches!(self.plan.kind, SignatureKind::Token);
        if is_token && !self.plan.signature.location.is_in_body() {
            self.body = body.to_string().into_bytes();
            return self.sign_message();
        }
        let [Location::Json(pointer)] = &locations[..] else {
            return Err(SignError::FieldMalformed);
        };
        for element in elements {
            let text = element.to_string();
            let input = SigningInput {
                body: text.as_bytes(),
                ..self.signing_input(None)
            };
            let signature = self.signature(&input.message()?)?;
            let value = self.plan.signature.write(&[], None, &signature);
            *pointer.get_mut(element).ok_or(SignError::BodyNotJson)? = value.into();
        }
        self.body = body.to_string().into_bytes();
        Ok(())
    }

    /// Signs a JSON Web Token (RFC 7519) with `iat`, `exp`, `jti` and the claims that the scheme
    /// reads, and with `nbf` if the scheme has no timestamp.
    /// The first of `algorithms` is the one to use.
    pub(super) fn sign_token(
        &mut self,
        algorithms: &[JwtAlgorithm],
        at: UnixTime,
    ) -> Result<(), SignError> {
        let header = self.token_header(algorithms)?;
        if self.plan.detached.is_some() {
            return self.sign_detached(&header, algorithms);
        }
        let claims = self.token_claims(at)?;
        let [header, claims] =
            [header, Value::Object(claims)].map(|part| base64url(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = base64url(&self.signature(signed.as_bytes())?);
        self.insert_token(&format!("{signed}.{signature}"))
    }

    /// Inserts a token where the scheme reads it.
    fn insert_token(&mut self, token: &str) -> Result<(), SignError> {
        let prefix = String::from_utf8_lossy(&self.plan.signature.prefix);
        let token = format!("{prefix}{token}");
        match &self.plan.signature.location {
            SignatureLocation::Locations(locations) if !locations.is_empty() => {
                self.insert(&locations[0], token.as_bytes())
            }
            _ => Err(SignError::FieldMalformed),
        }
    }

    /// Returns the header of a token, with the members that the scheme reads.
    fn token_header(&self, algorithms: &[JwtAlgorithm]) -> Result<Value, SignError> {
        let algorithm = algorithms.first().map(|jwt| jwt.registered_name());
        let mut header = serde_json::json!({ "alg": algorithm });
        // A detached signature covers a message and is no JSON Web Token. TrueLayer's library
        // refuses members that it does not know.
        if self.plan.detached.is_none() {
            header["typ"] = "JWT".into();
        }
        let rule = self.signer.scheme.fetch_rule();
        for location in rule.into_iter().flat_map(|rule| rule.locations()) {
            if let Location::Jose(name) = location {
                header[&**name] = self.invented.into();
            }
        }
        for required in &self.plan.require {
            if let Location::Jose(name) = &required.location {
                let value = self.signing_input(None).text(&required.template)?;
                header[&**name] = String::from_utf8_lossy(&value).into_owned().into();
            }
        }
        for value in self.plan.message.placeholders() {
            if let Variable::HeaderLines(name) = &value.variable {
                let names: Vec<&str> = self.plan.listed_headers().map(HeaderName::as_str).collect();
                header[&**name] = names.join(",").into();
            }
        }
        Ok(header)
    }

    /// Signs the message as the payload of a JSON Web Signature (RFC 7515 appendix F).
    fn sign_detached(
        &mut self,
        header: &Value,
        algorithms: &[JwtAlgorithm],
    ) -> Result<(), SignError> {
        let header = base64url(header.to_string().as_bytes());
        let claims = Claims::from_header(header.as_bytes(), algorithms);
        let (claims, _) = claims.map_err(|_| SignError::FieldMalformed)?;
        let input = SigningInput {
            claims: Some(&claims),
            ..self.signing_input(None)
        };
        let signed = detached_signing_input(&input.message()?);
        let signature = base64url(&self.signature(&signed)?);
        self.insert_token(&format!("{header}..{signature}"))
    }

    fn token_claims(&self, at: UnixTime) -> Result<Map<String, Value>, SignError> {
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), at.secs().into());
        claims.insert("jti".to_owned(), self.invented.into());
        // A window for `iat` may allow more time in the future than `nbf` does.
        if self.plan.timestamp.is_none() {
            claims.insert("nbf".to_owned(), at.secs().into());
        }
        claims.insert("exp".to_owned(), at.plus(TOKEN_LIFETIME).secs().into());
        if let Some(field) = &self.plan.timestamp
            && let Location::Claim(name) = &field.location
        {
            let text = field.unit.format(at);
            let number = text.parse::<i64>().map(Value::from);
            claims.insert(name.to_string(), number.unwrap_or(Value::String(text)));
        }
        for equal in &self.plan.require {
            if let Location::Claim(name) = &equal.location
                && !(self.body.is_empty() && equal.may_lack_body())
            {
                let value = self.signing_input(None).text(&equal.template)?;
                let value = String::from_utf8_lossy(&value).into_owned();
                claims.insert(name.to_string(), value.into());
            }
        }
        for location in self.plan.id.iter().flat_map(|id| &id.locations) {
            if let Location::Claim(name) = location {
                claims.insert(name.to_string(), self.invented.into());
            }
        }
        Ok(claims)
    }
}

fn base64url(bytes: &[u8]) -> String {
    Encoding::Base64Url.encode(bytes)
}
