//! Verification with a document of keys, from a file or from an address.

use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{Head, HeadOutcome, RequestOutcome, UnixTime, Verifier, VerifyError};
use hookgate_keys::{
    Address, AddressPolicy, DocumentRequest, FetchDocument, HttpsClient, read_keys,
};

use super::Error;

/// The time limit of a fetch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Verifies a delivery with the key of the document `keys` that it names.
pub(super) fn verify(
    verifier: &Verifier,
    head: Head<'_>,
    body: Bytes,
    keys: &str,
    now: UnixTime,
) -> Result<Result<RequestOutcome, VerifyError>, Error> {
    let mut pending = match verifier.begin(head, now) {
        Ok(HeadOutcome::Delivery(pending)) => pending,
        Ok(HeadOutcome::Handshake(response)) => return Ok(Ok(RequestOutcome::Handshake(response))),
        Err(error) => return Ok(Err(error)),
    };
    pending.push(body);
    let reference = match pending.key_reference(now) {
        Ok(Some(reference)) => reference,
        Ok(None) => return Ok(pending.finish(now)),
        Err(error) => return Ok(Err(error)),
    };
    let document = read_document(keys)?;
    let name = reference.id().or(reference.url()).unwrap_or_default();
    let known = read_keys(verifier.scheme(), name, &document).map_err(Error::with_causes)?;
    let named = known.iter().find(|key| key.id() == name);
    Ok(match named {
        Some(key) => pending.finish_with_key(key, now).1,
        None => Err(VerifyError::KeyUnknown),
    })
}

/// Reads the file `keys`, or fetches the document if `keys` is a URL.
fn read_document(keys: &str) -> Result<Vec<u8>, Error> {
    let Some(address) = Address::parse(keys) else {
        return std::fs::read(keys)
            .map_err(|error| Error::new(format!("--keys: cannot read {keys}: {error}")));
    };
    // The operator has written the address.
    let client = HttpsClient::new(AddressPolicy::Any, None).map_err(Error::with_causes)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = DocumentRequest::get(address);
    let fetched =
        runtime.block_on(async { tokio::time::timeout(TIMEOUT, client.fetch(&request)).await });
    match fetched {
        Ok(document) => Ok(document.map_err(Error::with_causes)?.body.into()),
        Err(_) => Err(Error::new(format!("--keys: {keys} took too long"))),
    }
}
