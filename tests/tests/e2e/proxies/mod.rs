//! The gateway behind proxies: the headers that it believes, and whose; and the configurations of
//! the page, with the real programs.

mod programs;
mod recipes;
mod redirects;
mod trust;

use http::{HeaderMap, HeaderValue};

/// Returns headers with these lines.
fn lines(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).expect("the line is a field value");
        headers.append(*name, value);
    }
    headers
}
