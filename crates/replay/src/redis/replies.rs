//! The verdicts on replies, without a server. Only fuzz targets need this.

use ::redis::{InfoDict, Value};
use hookgate_core::ReplayKey;

use super::script::Reply;
use super::server::token_text;
use super::server_check::check_info;
use super::store::claim_of;
use crate::store::{Claim, StoreError};

/// Returns the result of a claim of `key` with `token`, if the server replies `value`.
///
/// # Errors
///
/// Returns [`StoreError`] if the reply is not one of the script of a claim.
pub fn claim(value: Value, key: ReplayKey, token: u64) -> Result<Claim, StoreError> {
    let reply = Reply::read(value, &token_text(token)).map_err(StoreError::new)?;
    claim_of(reply, key, token)
}

/// Returns whether the store would use a server that replies `info` to INFO.
pub fn is_suitable(info: &str) -> bool {
    let info = InfoDict::new(info);
    let policy = info.get("maxmemory_policy").ok_or(None);
    check_info(&info, policy, "server").is_ok()
}
