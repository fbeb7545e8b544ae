//! Replacement of addresses and paths in the texts of documents, for suites that run these texts.

/// Returns `text` with every token of `pairs` replaced.
///
/// A token is replaced only as a whole: no letter or digit stands directly before or after it.
/// One pass does all replacements, so a port that is inserted is never replaced itself.
pub fn replace_tokens(text: &str, pairs: &[(&str, String)]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        let found = pairs
            .iter()
            .find(|(token, _)| starts_with_token(rest, token, before));
        let len = match found {
            Some((token, replacement)) => {
                replaced.push_str(replacement);
                token.len()
            }
            None => {
                replaced.push(first);
                first.len_utf8()
            }
        };
        before = rest[..len].chars().next_back();
        rest = &rest[len..];
    }
    replaced
}

/// Returns whether `text` starts with a whole `token`. `before` is the character before `text`.
fn starts_with_token(text: &str, token: &str, before: Option<char>) -> bool {
    let joins = |left: Option<char>, right: Option<char>| {
        left.zip(right)
            .is_some_and(|(left, right)| left.is_alphanumeric() && right.is_alphanumeric())
    };
    text.strip_prefix(token).is_some_and(|after| {
        !joins(before, token.chars().next())
            && !joins(token.chars().next_back(), after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inserted_port_is_not_replaced_again() {
        let text = "listen 443 ssl;\nlisten 127.0.0.1:8081;\nproxy_pass http://127.0.0.1:8080;\n\
                    proxy_pass http://127.0.0.1:3000;\nport_value: 443 }";
        let pairs = [
            ("listen 443", "listen 127.0.0.1:30001".to_owned()),
            ("port_value: 443", "port_value: 14430".to_owned()),
            ("127.0.0.1:8081", "127.0.0.1:14430".to_owned()),
            ("127.0.0.1:8080", "127.0.0.1:30001".to_owned()),
            ("127.0.0.1:3000", "127.0.0.1:18080".to_owned()),
        ];
        let expected = "listen 127.0.0.1:30001 ssl;\nlisten 127.0.0.1:14430;\n\
                        proxy_pass http://127.0.0.1:30001;\nproxy_pass http://127.0.0.1:18080;\n\
                        port_value: 14430 }";
        assert_eq!(replace_tokens(text, &pairs), expected);
        // The control: one replacement after the other also replaces inserted ports.
        let chained = pairs
            .iter()
            .fold(text.replace("listen 443", "listen 14430"), |text, pair| {
                text.replace(pair.0.rsplit([':', ' ']).next().unwrap(), "18080")
            });
        assert!(chained.contains("118080"), "{chained}");
    }

    #[test]
    fn a_part_of_a_longer_number_is_no_token() {
        let pairs = [14430, 30001, 18080].map(|port| port.to_string());
        let [https, app, gateway] = &pairs;
        let pairs = [
            ("443", https.clone()),
            ("3000", app.clone()),
            ("8080", gateway.clone()),
        ];
        let text = "14430 30001 18080 443 3000 8080 :443 x3000";
        let expected = "14430 30001 18080 14430 30001 18080 :14430 x3000";
        assert_eq!(replace_tokens(text, &pairs), expected);
        assert_eq!(replace_tokens("", &pairs), "");
    }
}
