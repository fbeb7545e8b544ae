//! Reads the environment variables of the OpenTelemetry specification that concern metrics.
//! An empty variable counts as unset.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// The collector of the specification for a set exporter without an endpoint.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Where, when and how metrics are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) headers: HeaderMap,
    /// Maximum duration of one export.
    pub(super) timeout: Duration,
    pub(super) interval: Duration,
}

impl Settings {
    /// Reads the variables. Returns `None` if metrics are not sent.
    ///
    /// # Errors
    ///
    /// Returns a message that names a variable whose value is invalid or not supported.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        // The name that is for metrics only comes first.
        let find = |name: &str| {
            let names = [
                format!("OTEL_EXPORTER_OTLP_METRICS_{name}"),
                format!("OTEL_EXPORTER_OTLP_{name}"),
            ];
            names
                .into_iter()
                .find_map(|name| get(&name).map(|value| (name, value)))
        };
        let exporter = get("OTEL_METRICS_EXPORTER");
        if !sends_otlp(exporter.as_deref())? {
            return Ok(None);
        }
        let endpoint = match find("ENDPOINT") {
            Some((name, url)) if name.contains("METRICS") => (name, url),
            Some((name, url)) => (name, with_path(&url)),
            // Without an endpoint, only an explicit exporter turns the export on.
            None if exporter.is_none() => return Ok(None),
            None => (
                "OTEL_METRICS_EXPORTER".to_owned(),
                with_path(DEFAULT_ENDPOINT),
            ),
        };
        expect_one_of(find("PROTOCOL"), &["http/protobuf"])?;
        expect_one_of(find("COMPRESSION"), &["none"])?;
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let temporality = get(temporality).map(|value| (temporality.to_owned(), value));
        expect_one_of(temporality, &["cumulative"])?;
        let named = |name: &str| get(name).map(|value| (name.to_owned(), value));
        let timeout = read_millis(find("TIMEOUT"), DEFAULT_TIMEOUT)?;
        let most = read_millis(named("OTEL_METRIC_EXPORT_TIMEOUT"), timeout)?;
        Ok(Some(Self {
            endpoint: check_url(endpoint)?,
            headers: find("HEADERS").map_or(Ok(HeaderMap::new()), read_headers)?,
            timeout: timeout.min(most),
            interval: read_millis(named("OTEL_METRIC_EXPORT_INTERVAL"), DEFAULT_INTERVAL)?,
        }))
    }
}

/// Returns whether the exporters include OTLP. Metrics for Prometheus are always served, at the
/// admin address.
fn sends_otlp(exporters: Option<&str>) -> Result<bool, String> {
    let mut sends_otlp = false;
    for exporter in exporters.unwrap_or("otlp").split(',') {
        match exporter.trim() {
            "otlp" => sends_otlp = true,
            "none" | "prometheus" => {}
            other => {
                return Err(format!(
                    "OTEL_METRICS_EXPORTER: {other:?} is not supported; expected otlp, prometheus \
                     or none"
                ));
            }
        }
    }
    Ok(sends_otlp)
}

/// Returns the address for metrics below an address for all signals.
fn with_path(url: &str) -> String {
    format!("{}/v1/metrics", url.trim_end_matches('/'))
}

fn check_url((name, url): (String, String)) -> Result<String, String> {
    let uri = url.parse::<http::Uri>().ok();
    let is_http = uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    match is_http {
        true => Ok(url),
        // The value can contain a password.
        false => Err(format!(
            "{name}: cannot send metrics to this address; expected http://HOST:PORT, for example \
             of a collector on this machine"
        )),
    }
}

/// Checks a variable whose other values need something that this program does not have.
fn expect_one_of(found: Option<(String, String)>, supported: &[&str]) -> Result<(), String> {
    match found {
        Some((name, value)) if !supported.contains(&&*value) => {
            let supported = supported.join(" or ");
            Err(format!(
                "{name}: {value:?} is not supported for metrics; expected {supported}, or \
                 OTEL_METRICS_EXPORTER=none"
            ))
        }
        _ => Ok(()),
    }
}

/// The longest interval and the longest timeout: a day.
const MAX_MILLIS: u64 = 24 * 3600 * 1000;

fn read_millis(found: Option<(String, String)>, default: Duration) -> Result<Duration, String> {
    let Some((name, value)) = found else {
        return Ok(default);
    };
    match value.parse::<u64>() {
        Ok(millis @ 1..=MAX_MILLIS) => Ok(Duration::from_millis(millis)),
        _ => Err(format!(
            "{name}: expected 1 to {MAX_MILLIS} milliseconds (a day), got {value:?}"
        )),
    }
}

/// Reads `name=value,name=value` with values in percent-encoding.
fn read_headers((name, list): (String, String)) -> Result<HeaderMap, String> {
    // The values are secrets, so the message does not contain them.
    let wrong = || format!("{name}: expected NAME=VALUE, separated by commas");
    let mut headers = HeaderMap::new();
    for header in list.split(',').filter(|header| !header.trim().is_empty()) {
        let (key, value) = header.split_once('=').ok_or_else(wrong)?;
        let key = HeaderName::from_bytes(key.trim().as_bytes()).map_err(|_| wrong())?;
        let value: Vec<u8> = percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn endpoint(variables: &[(&str, &str)]) -> Option<String> {
        let settings = read(variables).expect("the variables are valid");
        settings.map(|settings| settings.endpoint)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
    const METRICS: (&str, &str) = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1/own");

    #[test]
    fn the_endpoint_and_the_exporter_decide_whether_metrics_are_sent() {
        let exporter = |value| ("OTEL_METRICS_EXPORTER", value);
        let all = Some("http://c:4318/v1/metrics".to_owned());
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(endpoint(&[ENDPOINT]), all);
        assert_eq!(
            endpoint(&[ENDPOINT, METRICS]),
            Some("http://m:1/own".to_owned())
        );
        assert_eq!(endpoint(&[ENDPOINT, exporter("prometheus,otlp")]), all);
        for value in ["none", "prometheus"] {
            assert_eq!(endpoint(&[ENDPOINT, exporter(value)]), None);
        }
        let local = Some("http://localhost:4318/v1/metrics".to_owned());
        assert_eq!(endpoint(&[exporter("otlp")]), local);
        assert_eq!(endpoint(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), None);
    }

    #[test]
    fn the_variable_for_metrics_comes_before_that_for_all_signals() {
        let settings = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
                "authorization=Basic%20YQ, x-b = 2",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "5000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ]);
        let settings = settings.expect("valid").expect("metrics are sent");
        assert_eq!(settings.headers["authorization"], "Basic YQ");
        assert_eq!(settings.headers["x-b"], "2");
        assert!(!settings.headers.contains_key("a"));
        assert_eq!(settings.timeout, Duration::from_secs(5));
        assert_eq!(settings.interval, Duration::from_millis(250));
    }

    #[test]
    fn a_value_that_is_not_supported_is_an_error_that_names_its_variable() {
        for (name, value) in [
            ("OTEL_METRICS_EXPORTER", "console"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://secret@c"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "c:4318"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "-1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0a"),
        ] {
            let error = read(&[ENDPOINT, (name, value)]).expect_err(name);
            assert!(error.starts_with(name), "{error}");
            assert!(error.contains("expected"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
