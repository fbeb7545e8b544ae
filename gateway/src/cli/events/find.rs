//! Finds the delivery that the operator names.

use http::StatusCode;
use serde_json::{Value, json};

use super::delivery::{Delivery, List};
use super::list::nothing_found;
use super::query::Filter;
use crate::cli::Error;
use crate::cli::api::{Api, ApiError, escaped, read};
use crate::cli::terminal::{Text, printable};

/// Most deliveries of one search.
const MAX_MATCHES: u64 = 500;

/// The length of a request id.
const ID_LEN: usize = 32;

/// The shortest end of a request id that counts as one. The lists print such ends.
const MIN_END: usize = 8;

/// The deliveries that an id names.
#[derive(Debug)]
pub(super) enum Found {
    /// One delivery, in full.
    One(Value),
    /// Several deliveries, as a list.
    Several(Value),
}

/// Finds the deliveries whose request id is `id` or ends with it, or whose event id or unsigned
/// delivery id it is. If there is no such delivery, the gateway's search decides.
pub(super) async fn find(api: &Api, id: &str) -> Result<Found, Error> {
    if is_request_id(id) {
        match api.get(&path(id)).await {
            Ok(detail) => return Ok(Found::One(detail)),
            // An event id may have the same form.
            Err(ApiError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error.into()),
        }
    }
    let search = Filter::search(id).path("/api/deliveries", &[("limit", MAX_MATCHES)]);
    let mut value = api.get(&search).await?;
    let list: List = read(value.clone())?;
    let exact: Vec<bool> = list.deliveries.iter().map(|d| has_id(d, id)).collect();
    if exact.contains(&true)
        && let Some(deliveries) = value["deliveries"].as_array_mut()
    {
        let mut exact = exact.into_iter();
        deliveries.retain(|_| exact.next() == Some(true));
    }
    match value["deliveries"].as_array().map(Vec::as_slice) {
        Some([one]) => {
            let one: Delivery = read(one.clone())?;
            Ok(Found::One(api.get(&path(one.request_id.raw())).await?))
        }
        Some([]) | None => Err(nothing_found(&list)),
        Some(several) => Ok(Found::Several(json!({
            "deliveries": several,
            "since": value["since"],
        }))),
    }
}

/// Returns the request id that `id` is, or whose end it is.
///
/// # Errors
///
/// Returns an error if no delivery or several ones have it. An event id is refused, because
/// several deliveries can have the same one.
pub(super) async fn request_id(api: &Api, id: &str) -> Result<String, Error> {
    if is_request_id(id) {
        return Ok(id.to_owned());
    }
    let search = Filter::search(id).path("/api/deliveries", &[("limit", MAX_MATCHES)]);
    let list: List = read(api.get(&search).await?)?;
    let ids = list.deliveries.iter().map(|d| d.request_id.raw());
    let ids: Vec<&str> = ids.filter(|found| is_end(found, id)).collect();
    let id = printable(id);
    match ids[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Error::new(format!(
            "no delivery has the request id {id}; `hookgate events show {id}` finds the request \
             ids of an event"
        ))),
        _ => Err(Error::new(format!(
            "{} deliveries have a request id that ends with {id}; give all its {ID_LEN} \
             characters",
            ids.len()
        ))),
    }
}

/// Returns the path of a delivery.
pub(super) fn path(request_id: &str) -> String {
    format!("/api/deliveries/{}", escaped(request_id))
}

fn has_id(delivery: &Delivery, id: &str) -> bool {
    let ids = [&delivery.event_id, &delivery.delivery_id];
    let equals = |text: &Text| text.raw() == id;
    ids.into_iter().flatten().any(equals) || is_end(delivery.request_id.raw(), id)
}

/// Whether `id` has the form of a request id.
fn is_request_id(id: &str) -> bool {
    id.len() == ID_LEN && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `id` is the end of a request id.
fn is_end(request_id: &str, id: &str) -> bool {
    id.len() >= MIN_END && request_id.ends_with(id)
}
