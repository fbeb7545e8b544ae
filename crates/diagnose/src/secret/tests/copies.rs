//! Secrets that were copied with additions, losses or changes.

use super::*;

/// Asserts that each of `mistakes` with the secret of each provider is undone.
fn assert_restored(providers: &[&str], mistakes: &[(&str, Mistake)]) {
    let mut missed = Vec::new();
    for provider in providers {
        for (name, mistake) in mistakes {
            let sample = Sample::of(provider);
            let Some(text) = mistake(&sample.secret()) else {
                continue;
            };
            let code = proved(&sample.with_secret(text), Effort::Full);
            if code != Some(Code::SecretCopiedBadly) {
                missed.push(format!("{name} at {provider}: {code:?}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn every_mistake_of_copying_is_undone_at_every_provider() {
    const MISTAKES: [(&str, Mistake); 33] = [
        ("blank", |s| Some(format!("{s} "))),
        ("line feed", |s| Some(format!("{s}\n"))),
        ("CR LF", |s| Some(format!("{s}\r\n"))),
        ("tab in front", |s| Some(format!("\t{s}"))),
        ("quotes", |s| Some(format!("\"{s}\""))),
        ("apostrophes", |s| Some(format!("'{s}'"))),
        ("backticks", |s| Some(format!("`{s}`"))),
        ("literal of bytes", |s| Some(format!("b'{s}'"))),
        ("typographic quotes", |s| {
            Some(format!("\u{201c}{s}\u{201d}"))
        }),
        ("one quote", |s| Some(format!("{s}\""))),
        ("angle brackets", |s| Some(format!("<{s}>"))),
        ("braces", |s| Some(format!("{{{{ {s} }}}}"))),
        ("parentheses", |s| Some(format!("({s})"))),
        ("line of a file", |s| Some(format!("HOOK_SECRET={s}"))),
        ("exported", |s| Some(format!("export HOOK_SECRET='{s}'\n"))),
        ("YAML", |s| Some(format!("secret: \"{s}\""))),
        ("JSON", |s| Some(format!("\"secret\": \"{s}\","))),
        ("comment", |s| Some(format!("{s} # the hook"))),
        ("all of it", |s| {
            Some(format!("\u{feff}export A_B=\"{s}\" # hook\r\n"))
        }),
        ("semicolon", |s| Some(format!("{s};"))),
        ("comma", |s| Some(format!("{s},"))),
        ("backslash", |s| Some(format!("{s}\\"))),
        ("written line feed", |s| Some(format!("{s}\\n"))),
        ("zero width", |s| {
            Some(format!("{}\u{200b}{}", &s[..4], &s[4..]))
        }),
        ("no-break space", |s| Some(format!("\u{a0}{s}"))),
        ("byte order mark", |s| Some(format!("\u{feff}{s}"))),
        ("percent-encoded", |s| {
            let encoded = s
                .replace('+', "%2B")
                .replace('=', "%3D")
                .replace('/', "%2F");
            (encoded != s).then_some(encoded)
        }),
        ("HTML-escaped", |s| {
            let escaped = s
                .replace('+', "&#43;")
                .replace('=', "&#x3D;")
                .replace('/', "&#x2F;");
            (escaped != s).then_some(escaped)
        }),
        ("blank for plus", |s| {
            s.contains('+').then(|| s.replace('+', " "))
        }),
        ("doubled", |s| Some(format!("{s}{s}"))),
        ("two lines", |s| Some(format!("{s}\nother-secret"))),
        ("fullwidth", |s| {
            let wide = |one: char| char::from_u32(u32::from(one) + 0xfee0).unwrap();
            Some(s.chars().map(wide).collect())
        }),
        ("Cyrillic", |s| {
            s.contains('a').then(|| s.replacen('a', "\u{430}", 1))
        }),
    ];
    assert_restored(&SHARED, &MISTAKES);
}

#[test]
fn a_secret_that_was_cut_or_mistyped_is_restored() {
    const MISTAKES: [(&str, Mistake); 9] = [
        ("last character lost", |s| Some(s[..s.len() - 1].to_owned())),
        ("first character lost", |s| Some(s[1..].to_owned())),
        ("last two lost", |s| Some(s[..s.len() - 2].to_owned())),
        ("character behind", |s| Some(format!("{s}x"))),
        ("character in front", |s| Some(format!("x{s}"))),
        ("character inside lost", |s| {
            Some(format!("{}{}", &s[..9], &s[10..]))
        }),
        ("character changed", |s| {
            Some(format!("{}~{}", &s[..9], &s[10..]))
        }),
        ("upper case", |s| {
            let is_lower = s.chars().all(|one| !one.is_ascii_uppercase());
            is_lower.then(|| s.to_uppercase())
        }),
        ("look-alikes", |s| {
            s.contains('0').then(|| s.replace('0', "O"))
        }),
    ];
    assert_restored(&["github", "stripe", "slack"], &MISTAKES);
}

#[test]
fn a_secret_that_a_parser_or_a_shell_changed_is_restored() {
    for (right, configured) in [
        ("01234567012", "175304202"),
        ("hook$4Kq2vXm9-rzp", "hookKq2vXm9-rzp"),
        ("hook$$Kq2vXm9-rzp", "hook$Kq2vXm9-rzp"),
        ("hook$Kq2vXm9-rzp", "hook$$Kq2vXm9-rzp"),
    ] {
        let provider = Provider::named("github").unwrap();
        let scheme = provider.scheme().clone();
        let sample = Sample::signed(scheme, Some(provider), right, configured);
        let code = proved(&sample, Effort::Full);
        assert_eq!(code, Some(Code::SecretCopiedBadly), "{right}");
    }
}
