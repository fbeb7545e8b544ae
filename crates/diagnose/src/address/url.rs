//! A URL in parts, as a provider may have signed it.

use std::fmt;

/// A URL in parts. Each part has the spelling of the text.
///
/// `Debug` and `Display` show neither user and password nor values of the query, which may be
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `http` or `https`.
    pub(super) scheme: String,
    /// `USER:PASSWORD`.
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<String>,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// A part of a URL, in the order of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Scheme,
    User,
    Host,
    Port,
    Path,
    Query,
}

impl Part {
    pub(super) const ALL: [Self; 6] = [
        Self::Scheme,
        Self::User,
        Self::Host,
        Self::Port,
        Self::Path,
        Self::Query,
    ];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "scheme",
            Self::User => "user",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Query => "query",
        })
    }
}

impl Address {
    /// Parses an absolute URL with the scheme `http` or `https`. Blanks around it and a fragment
    /// are removed, because no provider signs them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        let (host, port) = split_port(authority);
        if host.is_empty() {
            return None;
        }
        let (path, query) = split_query(rest);
        Some(Self {
            scheme,
            user,
            host: host.to_owned(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
            query: query.map(str::to_owned),
        })
    }

    /// Returns the URL as text, with user and password.
    pub(super) fn to_url(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@"));
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        format!(
            "{}://{}{}{}{}",
            self.scheme,
            user.unwrap_or_default(),
            self.authority(),
            self.path,
            query.unwrap_or_default()
        )
    }

    pub(super) fn with_other_scheme(mut self) -> Self {
        self.scheme = other_scheme(&self.scheme).to_owned();
        self
    }

    /// Returns the parts that differ.
    pub(super) fn differences(&self, other: &Self) -> Vec<Part> {
        let differs = |part: &Part| match part {
            Part::Scheme => self.scheme != other.scheme,
            Part::User => self.user != other.user,
            Part::Host => self.host != other.host,
            Part::Port => self.port != other.port,
            Part::Path => self.path != other.path,
            Part::Query => self.query != other.query,
        };
        Part::ALL.into_iter().filter(differs).collect()
    }

    fn authority(&self) -> String {
        match &self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.path)?;
        let Some(query) = &self.query else {
            return Ok(());
        };
        let fields = query.split('&').map(|field| match field.split_once('=') {
            Some((name, _)) => format!("{name}=…"),
            // A field without a name may be a token.
            None if field.is_empty() => String::new(),
            None => "…".to_owned(),
        });
        write!(f, "?{}", fields.collect::<Vec<_>>().join("&"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns `https` for `http`, and the reverse.
pub(super) fn other_scheme(scheme: &str) -> &'static str {
    match scheme {
        "http" => "https",
        _ => "http",
    }
}

/// Splits a host with an optional port. An IPv6 address is in brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let name_end = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[name_end..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(name_end + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

/// Splits a path with an optional query.
pub(super) fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_spelling() {
        for text in [
            "https://a.example",
            "https://a.example/",
            "http://u:p@a.example:8080/x//y/?b=2&a=1",
            "https://[::1]:80/x?",
            "https://A.example?x",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_url(), text);
        }
        for text in ["", "a.example/x", "ftp://a/x", "https://", "https:///x"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
        let trimmed = Address::parse(" HTTPS://a.example/x#y\n").unwrap();
        assert_eq!(trimmed.to_url(), "https://a.example/x");
    }

    #[test]
    fn a_shown_url_has_no_password_and_no_value() {
        let address = Address::parse("https://u:p4ss@a.example/x?token=t0ken&k3y&").unwrap();
        assert_eq!(address.to_string(), "https://a.example/x?token=…&…&");
        assert_eq!(format!("{address:?}"), "https://a.example/x?token=…&…&");
    }

    #[test]
    fn the_parts_that_differ_are_named() {
        let base = Address::parse("https://a.example/x").unwrap();
        for (text, parts) in [
            ("https://a.example/x", &[][..]),
            ("http://a.example/x", &[Part::Scheme]),
            ("https://u@a.example/x?", &[Part::User, Part::Query]),
            (
                "https://b.example:1/",
                &[Part::Host, Part::Port, Part::Path],
            ),
        ] {
            let other = Address::parse(text).unwrap();
            assert_eq!(other.differences(&base), parts, "{text}");
        }
    }
}
