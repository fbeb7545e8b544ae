//! Decides who may use the inspector, by its token, its permission and its origin.

mod guesses;
mod origin;

use std::net::IpAddr;
use std::time::Instant;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use self::guesses::Guesses;
pub(super) use self::origin::{Visit, check_origin};
use super::problem::Problem;
use crate::config::{InspectorAccess, Permission, TokenDigest};

/// Checks tokens, and limits wrong ones.
#[derive(Debug, Default)]
pub(super) struct Gatekeeper {
    guesses: Guesses,
}

/// A user of the inspector, who has a token.
#[derive(Clone, Debug)]
pub(super) struct User {
    /// The name of the token.
    pub(super) name: String,
    pub(super) may: Permission,
    digest: TokenDigest,
}

impl Gatekeeper {
    /// Returns the user whose token the request has.
    ///
    /// # Errors
    ///
    /// Returns 401 without a right token, and 429 after too many wrong tokens from the network of
    /// the client.
    pub(super) fn authenticate(
        &self,
        access: &InspectorAccess,
        headers: &HeaderMap,
        client: Option<IpAddr>,
    ) -> Result<User, Problem> {
        let digest = TokenDigest::of(bearer_token(headers)?);
        // Every token is compared, so the time does not show which one matches.
        let tokens = access.tokens.iter();
        let token = tokens.fold(None, |found, token| match token.has_digest(&digest) {
            true => Some(token),
            false => found,
        });
        self.guesses
            .check(client, &digest, token.is_some(), Instant::now())?;
        let token = token.ok_or_else(|| {
            Problem::unauthorized("the gateway does not know this token; check it")
        })?;
        Ok(User {
            name: token.name.clone(),
            may: token.may,
            digest,
        })
    }
}

impl User {
    /// Whether the token still exists after a reload.
    pub(super) fn is_known(&self, access: &InspectorAccess) -> bool {
        let mut tokens = access.tokens.iter();
        tokens.any(|token| token.has_digest(&self.digest))
    }

    /// Checks that the user may send deliveries again and forget events.
    ///
    /// # Errors
    ///
    /// Returns 403 if the token may only read.
    pub(super) fn check_may_act(&self) -> Result<(), Problem> {
        match self.may {
            Permission::Act => Ok(()),
            Permission::Read => Err(Problem::forbidden(format!(
                "the token {} may only read; use a token with `may = \"act\"`",
                self.name
            ))),
        }
    }
}

/// Returns the token of the header `Authorization`.
fn bearer_token(headers: &HeaderMap) -> Result<&[u8], Problem> {
    const EXPECTED: &str = "expected one header `Authorization: Bearer TOKEN`";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::unauthorized(EXPECTED));
    };
    let (scheme, token) = value
        .as_bytes()
        .split_at_checked("bearer ".len())
        .ok_or_else(|| Problem::unauthorized(EXPECTED))?;
    match scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty() {
        true => Ok(token),
        false => Err(Problem::unauthorized(EXPECTED)),
    }
}
