//! Reads captures in JSON: an object with the parts of a request, or an event of an API gateway
//! or load balancer of AWS.
//!
//! | part | members: the first one of the list counts |
//! |---|---|
//! | method | `method`, `httpMethod`, `requestContext.http.method`; otherwise POST |
//! | target | `url`, `rawPath` with `rawQueryString`, `path` |
//! | headers | `multiValueHeaders`, `headers`: an object, or a list of pairs |
//! | body | `body_base64`, `bodyBase64`, `body`, which is base64 if `isBase64Encoded` is `true` |
//! | arrival | `at`, `time`, `requestContext.timeEpoch`, `requestContext.requestTimeEpoch` |
//!
//! A `body` that is an object or an array counts as its own text, because the tool that wrote
//! the capture has parsed it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use hookgate_core::UnixTime;

use super::error::CaptureError;
use super::head::CapturedHead;
use super::members::{Json, document, each_item, each_member, members, scalar};
use super::{CaptureFile, Entry, har, header_lines, parse_time};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a JSON document.
pub(super) fn parse(bytes: &[u8], entry: Entry) -> Result<CaptureFile, CaptureError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let problem = format!("not UTF-8 at byte {}", error.valid_up_to());
        CaptureError::new(problem)
    })?;
    let found = members(
        document(text)?,
        [
            "log",
            "method",
            "httpMethod",
            "url",
            "rawPath",
            "rawQueryString",
            "path",
            "headers",
            "multiValueHeaders",
            "body",
            "body_base64",
            "bodyBase64",
            "isBase64Encoded",
            "at",
            "time",
            "requestContext",
        ],
    )?;
    if let Some(log) = found.get("log") {
        return har::parse(log, entry).map_err(|error| error.within("log"));
    }
    if entry.is_some_and(|entry| entry.get() > 1) {
        return Err(CaptureError::new(
            "the file has one request, with the number 1",
        ));
    }
    Document::new(found)?.read()
}

/// The members of a JSON document that is no HAR file.
struct Document<'a> {
    members: BTreeMap<&'static str, Json<'a>>,
    /// The members of `requestContext` and `requestContext.http`.
    context: BTreeMap<&'static str, Json<'a>>,
}

impl<'a> Document<'a> {
    fn new(members_of_root: BTreeMap<&'static str, Json<'a>>) -> Result<Self, CaptureError> {
        let mut context = BTreeMap::new();
        if let Some(json) = members_of_root.get("requestContext") {
            let wanted = ["http", "domainName", "timeEpoch", "requestTimeEpoch"];
            context = members(json, wanted).map_err(|error| error.within("requestContext"))?;
        }
        if let Some(http) = context.remove("http") {
            let http = members(http, ["method"]);
            context.extend(http.map_err(|error| error.within("requestContext.http"))?);
        }
        Ok(Self {
            members: members_of_root,
            context,
        })
    }

    fn read(&self) -> Result<CaptureFile, CaptureError> {
        let mut head = CapturedHead::default();
        let headers = self.first(&["multiValueHeaders", "headers"]);
        let Some((name, headers)) = headers else {
            return Err(CaptureError::new(
                "expected a member `headers`, or `log` of a HAR file",
            ));
        };
        push_headers(&mut head, headers).map_err(|error| error.within(name))?;
        let method = match self.first(&["method", "httpMethod"]) {
            Some((_, method)) => Some(method),
            None => self.context.get("method").copied(),
        };
        if let Some(method) = method {
            let method = scalar(method).map_err(|error| error.within("method"))?;
            set_method(&mut head, &method)?;
        }
        if let Some(target) = self.target()? {
            let set = head.set_target(&target);
            set.map_err(|fault| CaptureError::new(fault).within("url"))?;
        }
        let body = self.body()?;
        Ok(head.finish().with_body(body)?.arrived(self.arrival()?))
    }

    /// Returns the first of these members that exists, with its name.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, Json<'a>)> {
        let mut names = names.iter();
        names.find_map(|name| Some((*name, *self.members.get(name)?)))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, CaptureError> {
        let value = self.members.get(name).or_else(|| self.context.get(name));
        let text = value.map(|value| scalar(value)).transpose();
        text.map_err(|error| error.within(name))
    }

    fn target(&self) -> Result<Option<String>, CaptureError> {
        if let Some(url) = self.text("url")? {
            return Ok(Some(url));
        }
        let Some(path) = self.text("rawPath")? else {
            return self.text("path");
        };
        let origin = match self.text("domainName")? {
            Some(domain) => format!("https://{domain}"),
            None => String::new(),
        };
        let query = match self.text("rawQueryString")? {
            Some(query) if !query.is_empty() => format!("?{query}"),
            _ => String::new(),
        };
        Ok(Some(format!("{origin}{path}{query}")))
    }

    fn body(&self) -> Result<Bytes, CaptureError> {
        if let Some((name, _)) = self.first(&["body_base64", "bodyBase64"]) {
            let text = self.text(name)?.unwrap_or_default();
            return decode_base64(&text).map_err(|error| error.within(name));
        }
        let Some(body) = self.members.get("body") else {
            return Ok(Bytes::new());
        };
        let text = match body.get().starts_with(['{', '[']) {
            true => body.get().to_owned(),
            false => scalar(body).map_err(|error| error.within("body"))?,
        };
        match self.members.get("isBase64Encoded").map(|json| json.get()) {
            Some("true") => decode_base64(&text).map_err(|error| error.within("body")),
            _ => Ok(text.into()),
        }
    }

    fn arrival(&self) -> Result<Option<UnixTime>, CaptureError> {
        for name in ["at", "time", "timeEpoch", "requestTimeEpoch"] {
            if let Some(text) = self.text(name)? {
                let time = parse_time(&text).ok_or_else(|| {
                    let expected = "expected seconds, milliseconds, or a time in RFC 3339";
                    CaptureError::new(expected).within(name)
                });
                return time.map(Some);
            }
        }
        Ok(None)
    }
}

/// Sets the method, which some tools write in lower case.
pub(super) fn set_method(head: &mut CapturedHead, method: &str) -> Result<(), CaptureError> {
    let set = head.set_method(&method.to_ascii_uppercase());
    set.map_err(|fault| CaptureError::new(fault).within("method"))
}

/// Decodes base64, with or without padding and line ends.
pub(super) fn decode_base64(text: &str) -> Result<Bytes, CaptureError> {
    let mut text = text.as_bytes().to_vec();
    text.retain(|byte| !byte.is_ascii_whitespace());
    let decoded = BASE64.decode(text);
    match decoded {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err(CaptureError::new("expected base64")),
    }
}

/// Adds the headers of an object, or of a list of pairs.
pub(super) fn push_headers(head: &mut CapturedHead, json: Json<'_>) -> Result<(), CaptureError> {
    if !json.get().starts_with('[') {
        return each_member(json, &mut |name, value| {
            push_values(head, name, value).map_err(|error| error.within(name))
        });
    }
    each_item(json, &mut |index, item| {
        push_pair(head, item).map_err(|error| error.within(&format!("[{index}]")))
    })
}

/// Adds the header `name` with one value, or with each value of an array.
fn push_values(head: &mut CapturedHead, name: &str, json: Json<'_>) -> Result<(), CaptureError> {
    if json.get().starts_with('[') {
        return each_item(json, &mut |_, item| push(head, name, &scalar(item)?));
    }
    match json.get() {
        "null" => Ok(()),
        _ => push(head, name, &scalar(json)?),
    }
}

/// Adds `[name, value]`, `{"name": …, "value": …}` or `"name: value"`.
fn push_pair(head: &mut CapturedHead, json: Json<'_>) -> Result<(), CaptureError> {
    const EXPECTED: &str = "expected a pair [name, value], or an object with `name` and `value`";
    if json.get().starts_with('{') {
        let pair = members(json, ["name", "value"])?;
        let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) else {
            return Err(CaptureError::new(EXPECTED));
        };
        return push(head, &scalar(name)?, &scalar(value)?);
    }
    if json.get().starts_with('[') {
        let mut pair = [None, None];
        each_item(json, &mut |index, item| {
            let slot = pair.get_mut(index);
            let slot = slot.ok_or_else(|| CaptureError::new(EXPECTED))?;
            *slot = Some(scalar(item)?);
            Ok(())
        })?;
        let [Some(name), Some(value)] = pair else {
            return Err(CaptureError::new(EXPECTED));
        };
        return push(head, &name, &value);
    }
    let line = scalar(json)?;
    let (name, value) =
        header_lines::split(line.as_bytes()).ok_or_else(|| CaptureError::new(EXPECTED))?;
    head.push(name, value).map_err(CaptureError::new)
}

fn push(head: &mut CapturedHead, name: &str, value: &str) -> Result<(), CaptureError> {
    let pushed = head.push(name.as_bytes(), value.as_bytes());
    pushed.map_err(CaptureError::new)
}
