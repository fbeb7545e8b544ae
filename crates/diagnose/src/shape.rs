//! The shape of a value, which a log may show although the value is confidential.

/// Maximum length of the returned text, in bytes.
const MAX_LEN: usize = 120;
/// Maximum length of a name that is shown as it is.
const MAX_NAME: usize = 12;
/// Maximum length of a version such as `v1a`, which is shown as it is.
const MAX_VERSION: usize = 3;

/// Describes `value` without showing it: each run of letters and digits becomes its length and
/// its alphabet. The names of a list such as `t=…,v1=…`, versions and separators stay.
///
/// ```
/// use hookgate_diagnose::shape;
///
/// assert_eq!(shape(b"t=1784187600,v1=5f0c8a6de2b94a13"), "t=<10 digits>,v1=<16 hex>");
/// assert_eq!(shape(b"sWMIDkvWOddTwaWaTaCDGf+L/w=="), "<28 base64>");
/// ```
///
/// # Security
///
/// A name is shown only if it is short, begins with a lower-case letter, and is followed by `=`
/// and a value. The padding of base64 therefore never turns a value into a name.
pub fn shape(value: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = value;
    while !rest.is_empty() {
        if out.len() > MAX_LEN {
            out.push('…');
            break;
        }
        if let Some(name) = name(rest) {
            out.push_str(name);
            out.push('=');
            rest = &rest[name.len() + 1..];
            continue;
        }
        let len = rest.iter().take_while(|byte| is_in_value(**byte)).count();
        let (run, after) = rest.split_at(len);
        rest = after;
        if let Some(version) = version(run) {
            out.push_str(version);
        } else if let Some(alphabet) = alphabet(run) {
            out.push_str(&format!("<{len} {alphabet}>"));
        } else if let Some((separator, after)) = rest.split_first() {
            match separator {
                b' '..=b'~' => out.push(char::from(*separator)),
                _ => out.push_str("<1 byte>"),
            }
            rest = after;
        }
    }
    out
}

/// Returns the name at the start of `text`, if a list item starts there.
fn name(text: &[u8]) -> Option<&str> {
    let len = text
        .iter()
        .take(MAX_NAME + 1)
        .position(|byte| *byte == b'=')?;
    let name = std::str::from_utf8(&text[..len]).ok()?;
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let has_value = text
        .get(len + 1)
        .is_some_and(|next| is_in_value(*next) && *next != b'=');
    (is_name && has_value).then_some(name)
}

/// Returns `run` if it is a version such as `v1`.
fn version(run: &[u8]) -> Option<&str> {
    let [b'v', digits @ ..] = run else {
        return None;
    };
    let is_version = run.len() <= MAX_VERSION && digits.first().is_some_and(u8::is_ascii_digit);
    is_version.then(|| std::str::from_utf8(run).ok()).flatten()
}

/// Whether `byte` belongs to a value: everything but the separators of lists.
fn is_in_value(byte: u8) -> bool {
    !matches!(byte, b',' | b';' | b' ' | b'"' | b'\'' | b':' | b'\t') && byte.is_ascii_graphic()
}

/// Names the smallest alphabet that contains every byte of `run`. Returns `None` for no byte.
fn alphabet(run: &[u8]) -> Option<&'static str> {
    let all = |test: fn(&u8) -> bool| run.iter().all(test);
    Some(match run {
        [] => return None,
        _ if all(u8::is_ascii_digit) => "digits",
        _ if all(u8::is_ascii_hexdigit) => "hex",
        _ if all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)) => "base64",
        _ if all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte)) => "base64url",
        _ => "characters",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_names_separators_and_lengths() {
        for (value, expected) in [
            ("", ""),
            ("sha256=a0381b6dd691aa55", "sha256=<16 hex>"),
            (
                "v1,0AaPIhNrixgrnQ4fpWY5KwoYj/pcmiX6xo9tIuer8VM=",
                "v1,<44 base64>",
            ),
            ("v1 0AaP", "v1 <4 base64>"),
            ("ts=1795946719;h1=8ea9", "ts=<10 digits>;h1=<4 hex>"),
            ("\"abc\"", "\"<3 hex>\""),
            (
                "Bearer eyJhbGciOi.eyJpc3Mi.c2ln",
                "<6 base64> <24 characters>",
            ),
            // Padding does not make a name of a value.
            ("abcd==", "<6 base64>"),
            ("abcd=", "<5 base64>"),
            ("abcd=,next", "<5 base64>,<4 base64>"),
        ] {
            assert_eq!(shape(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_shape_is_short_and_printable() {
        let long = shape(&b"a,".repeat(100_000));
        assert!(long.len() < MAX_LEN + 20, "{}", long.len());
        let all: Vec<u8> = (0..=255).collect();
        assert!(
            shape(&all)
                .chars()
                .all(|shown| shown == '…' || (' '..='~').contains(&shown))
        );
    }
}
