//! Each inverse, on texts that show the change and on texts that do not.

use super::*;

#[test]
fn each_inverse_visits_the_texts_before_the_change() {
    type Inverse = fn(&str, Found<'_>);
    let cases: [(Inverse, &str, &[&str]); 34] = [
        (without_invisible, "a\u{200b}b\u{feff}", &["ab"]),
        (without_invisible, "ab", &[]),
        (trimmed, "\u{a0}ab\r\n", &["ab"]),
        (trimmed, " ", &[]),
        (without_comment, "ab # c", &["ab"]),
        (without_comment, "a#b", &[]),
        (without_name, "export A_B = ab12", &["ab12"]),
        (without_name, "\"secret\": \"ab12\"", &["\"ab12\""]),
        (without_name, "abcdefgh==", &[]),
        (without_quotes, "\"ab\"", &["ab"]),
        (without_quotes, "ab\"", &["ab"]),
        (without_quotes, "ab", &[]),
        (without_brackets, "{{ ab }}", &["ab"]),
        (without_literal, "b'ab'", &["ab"]),
        (without_written_line_end, "ab\\n", &["ab"]),
        (without_punctuation, "ab;", &["ab"]),
        (plus_for_blank, "a b", &["a+b"]),
        (plus_for_blank, "ab", &[]),
        (without_white_space, "a\n b", &["ab"]),
        (percent_decoded, "a%2Bb", &["a+b"]),
        (percent_decoded, "a%zz", &[]),
        (percent_encoded, "a+b", &["a%2Bb"]),
        (html_unescaped, "a&amp;b", &["a&b"]),
        (unescaped, "a\\$b\\u002Bc", &["a$b+c"]),
        (unescaped, "ab", &[]),
        (halved, "ab,ab", &["ab"]),
        (halved, "ab", &[]),
        (single_dollar, "a$$b", &["a$b"]),
        (without_quoted_printable, "a=3D", &["a="]),
        (plain_characters, "\u{ff41}\u{2013}b", &["a-b"]),
        (plain_characters, "ab", &[]),
        (other_number, "8", &["010", "0o10", "0x8", "0x8"]),
        (each_line, "a\n\nb", &["a", "b"]),
        (each_word, "a b", &["a", "b"]),
    ];
    for (index, (inverse, text, expected)) in cases.into_iter().enumerate() {
        let mut found = Vec::new();
        inverse(text, &mut |text| found.push(text));
        assert_eq!(found, expected, "case {index}: {text:?}");
    }
}

#[test]
fn base64_of_either_alphabet_decodes() {
    for text in ["+/8=", "-_8=", "-_8", " +/\n8= "] {
        assert_eq!(
            unbase64(text.as_bytes()).as_deref(),
            Some(&[0xfb, 0xff][..]),
            "{text}"
        );
    }
    for text in ["", "a", "a!b="] {
        assert_eq!(unbase64(text.as_bytes()), None, "{text}");
    }
}
