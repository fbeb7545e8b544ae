//! Reads HAR files, the archives of requests that browsers and proxies write.

use http::Method;

use super::error::CaptureError;
use super::head::CapturedHead;
use super::json::{decode_base64, push_headers, set_method};
use super::members::{Json, each_item, members, scalar};
use super::selection::Selection;
use super::{CaptureFile, Entry, parse_time};

/// Reads one request of the member `log`.
pub(super) fn parse(log: Json<'_>, entry: Entry) -> Result<CaptureFile, CaptureError> {
    let found = members(log, ["entries"])?;
    let entries = found.get("entries");
    let entries = entries.ok_or_else(|| CaptureError::new("expected a member `entries`"))?;
    let mut selection = Selection::new(entry);
    each_item(entries, &mut |index, json| {
        let place = format!("entries[{index}]");
        let method = read_method(json).map_err(|error| error.within(&place))?;
        selection.offer(&method, (index, json));
        Ok(())
    })?;
    let (index, json) = selection.finish()?;
    read(json).map_err(|error| error.within(&format!("entries[{index}]")))
}

fn request_of(entry: Json<'_>) -> Result<Json<'_>, CaptureError> {
    let found = members(entry, ["request"])?;
    let request = found.get("request").copied();
    request.ok_or_else(|| CaptureError::new("expected a member `request`"))
}

/// Returns the method of an entry, which is POST if the entry has none.
fn read_method(entry: Json<'_>) -> Result<Method, CaptureError> {
    let found = members(request_of(entry)?, ["method"])?;
    let mut head = CapturedHead::default();
    if let Some(method) = found.get("method") {
        set_method(&mut head, &scalar(method)?)?;
    }
    Ok(head.method.unwrap_or(Method::POST))
}

fn read(entry: Json<'_>) -> Result<CaptureFile, CaptureError> {
    let mut head = CapturedHead::default();
    let wanted = ["method", "url", "headers", "postData"];
    let request = members(request_of(entry)?, wanted)?;
    if let Some(headers) = request.get("headers") {
        push_headers(&mut head, headers).map_err(|error| error.within("request.headers"))?;
    }
    if let Some(method) = request.get("method") {
        set_method(&mut head, &scalar(method)?)?;
    }
    if let Some(url) = request.get("url") {
        let set = head.set_target(&scalar(url)?);
        set.map_err(|fault| CaptureError::new(fault).within("request.url"))?;
    }
    let mut file = head.finish();
    if let Some(data) = request.get("postData") {
        let body = read_body(data).map_err(|error| error.within("request.postData"))?;
        file = file.with_body(body)?;
    }
    // The age of a capture matters less than its signature, so a malformed time is left out.
    let found = members(entry, ["startedDateTime"])?;
    let started = found.get("startedDateTime");
    let time = started.and_then(|time| parse_time(&scalar(time).ok()?));
    Ok(file.arrived(time))
}

/// Reads `postData`. Some tools write binary bodies with `"encoding": "base64"`.
fn read_body(data: Json<'_>) -> Result<bytes::Bytes, CaptureError> {
    let found = members(data, ["text", "encoding"])?;
    let Some(text) = found.get("text") else {
        return Ok(bytes::Bytes::new());
    };
    let text = scalar(text)?;
    match found.get("encoding").map(|encoding| encoding.get()) {
        Some("\"base64\"") => decode_base64(&text),
        _ => Ok(text.into()),
    }
}
