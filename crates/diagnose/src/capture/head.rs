//! The head of a request, while a reader collects its parts.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{Capture, CaptureFile};

/// The fault of a part of a head. The reader adds the place.
pub(super) type Fault = &'static str;

/// The method, target, URL and headers that a reader has found.
#[derive(Debug, Default)]
pub(super) struct CapturedHead {
    pub(super) method: Option<Method>,
    target: Option<Uri>,
    url: Option<String>,
    pub(super) headers: HeaderMap,
    len: usize,
}

impl CapturedHead {
    /// Reads a request line such as `POST /hooks HTTP/1.1`. Returns `None` if `line` is none.
    pub(super) fn from_request_line(line: &[u8]) -> Option<Result<Self, Fault>> {
        let (method, target) = split_request_line(line)?;
        let mut head = Self::default();
        Some(
            head.set_method(method)
                .and_then(|()| head.set_target(target))
                .map(|()| head),
        )
    }

    pub(super) fn set_method(&mut self, method: &str) -> Result<(), Fault> {
        let method = Method::from_bytes(method.as_bytes());
        self.method = Some(method.map_err(|_| "not a method; expected one such as POST")?);
        Ok(())
    }

    /// Sets the target of the request line, or the whole URL.
    pub(super) fn set_target(&mut self, target: &str) -> Result<(), Fault> {
        let target = target.split('#').next().unwrap_or_default();
        // The writer of captures uses the asterisk if it does not know the target.
        if target == "*" {
            return Ok(());
        }
        let uri: Uri = target
            .parse()
            .map_err(|_| "not a request target; expected a path such as /hooks, or a URL")?;
        if uri.scheme().is_some() {
            self.url = Some(target.to_owned());
        }
        let path = uri.into_parts().path_and_query;
        self.target = Some(path.map_or_else(|| Uri::from_static("/"), Uri::from));
        Ok(())
    }

    /// Adds a header. The pseudo-headers of HTTP/2, such as `:path`, set the request line.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        const TOO_LARGE: Fault = "the headers have more than 1 MiB";
        let value = value.trim_ascii();
        self.len += name.len() + value.len() + 4;
        if self.len > CaptureFile::MAX_HEAD {
            return Err(TOO_LARGE);
        }
        if name.starts_with(b":") {
            return self.push_pseudo_header(name, value);
        }
        let name = HeaderName::from_bytes(name)
            .map_err(|_| "not the name of a header; expected `Name: value`")?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| "the value of the header has a control character")?;
        match self.headers.try_append(name, value) {
            Ok(_) => Ok(()),
            Err(_) => Err(TOO_LARGE),
        }
    }

    fn push_pseudo_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let text =
            str::from_utf8(value).map_err(|_| "the value of a pseudo-header is not UTF-8")?;
        match name {
            b":method" => self.set_method(text),
            b":path" => self.set_target(text),
            b":authority" if !self.headers.contains_key("host") => self.push(b"host", value),
            _ => Ok(()),
        }
    }

    /// Returns the capture of a request without a body.
    pub(super) fn finish(self) -> CaptureFile {
        CaptureFile {
            capture: Capture {
                method: self.method.unwrap_or(Method::POST),
                target: self.target,
                headers: self.headers,
                body: bytes::Bytes::new(),
                arrived: None,
            },
            url: self.url,
            record: None,
        }
    }
}

/// Splits a request line into method and target. Returns `None` if `line` is no request line.
fn split_request_line(line: &[u8]) -> Option<(&str, &str)> {
    let line = str::from_utf8(line).ok()?.trim_end();
    let (method, rest) = line.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    // The name of a header ends with a colon, which no method contains.
    let is_method = Method::from_bytes(method.as_bytes()).is_ok();
    (is_method && version.starts_with("HTTP/")).then_some((method, target))
}
