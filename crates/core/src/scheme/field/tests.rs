use super::*;

#[test]
fn a_timestamp_has_one_canonical_form() {
    assert_eq!(
        TimeUnit::Seconds.parse(b"1784187600"),
        Some(UnixTime::from_secs(1_784_187_600))
    );
    assert_eq!(TimeUnit::Seconds.parse(b"0"), Some(UnixTime::from_secs(0)));
    for text in [
        "",
        " ",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "1e9",
        "1.5",
        "0x10",
        "NaN",
        "123456789012",
        "9223372036854775807",
        "18446744073709551615",
        "１７８４",
    ] {
        assert_eq!(TimeUnit::Seconds.parse(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(
        TimeUnit::Rfc3339.parse(b"2026-11-21T08:00:00.123456789Z"),
        Some(UnixTime::from_millis(1_795_248_000_123))
    );
}

#[test]
fn a_date_of_rfc_3339_may_have_a_fraction_and_an_offset() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T08:00:00Z", 1_795_248_000_000),
        ("2026-11-21T08:00:00.5Z", 1_795_248_000_500),
        ("2026-11-21T08:00:00.9999999999999Z", 1_795_248_000_999),
        ("2026-11-21T08:00:00+00:00", 1_795_248_000_000),
        ("2026-11-21T00:00:00-08:00", 1_795_248_000_000),
        ("2026-11-21T13:45:00.25+05:45", 1_795_248_000_250),
        ("2026-11-22T07:59:00+23:59", 1_795_248_000_000),
        ("2028-02-29T23:59:59-00:00", 1_835_481_599_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ] {
        let expected = Some(UnixTime::from_millis(millis));
        assert_eq!(TimeUnit::Rfc3339.parse(text.as_bytes()), expected, "{text}");
    }
    for bad in [
        "",
        "Z",
        "+01:00",
        "2026-11-21",
        "2026-11-21T08:00:00",
        "2026-11-21 08:00:00Z",
        "2026-11-21t08:00:00Z",
        "2026-11-21T08:00:00z",
        "2026-11-21T08:00Z",
        "2026-11-21T08:00:00ZZ",
        "2026-11-21T08:00:00.Z",
        "2026-11-21T08:00:00,5Z",
        "2026-11-21T08:00:00.5.5Z",
        "2026-11-21T08:00:00.5+00:0Z",
        "2026-11-21T08:00:00.5+01:00Z",
        "2026-11-21T08:00:00Z+01:00",
        "2026-11-21T08:00:00+1:00",
        "2026-11-21T08:00:00+0100",
        "2026-11-21T08:00:00+01",
        "2026-11-21T08:00:00+24:00",
        "2026-11-21T08:00:00+01:60",
        "2026-11-21T08:00:00+01:00:00",
        "2026-11-21T08:00:00±01:00",
        "2026-11-21T08:00:00\u{2212}01:00",
        "2026-13-21T08:00:00Z",
        "2027-02-29T08:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T08:00:61Z",
        "26-11-21T08:00:00Z",
        "+2026-11-21T08:00:00Z",
        "1969-12-31T23:59:59Z",
        " 2026-11-21T08:00:00Z",
        "2026-11-21T08:00:00Z ",
        "２026-11-21T08:00:00Z",
    ] {
        assert_eq!(TimeUnit::Rfc3339.parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn a_time_without_a_text_is_an_empty_text() {
    let units = [TimeUnit::Rfc3339, TimeUnit::Rfc3339Utc, TimeUnit::HttpDate];
    for unit in units {
        for secs in [i64::MIN, -1, 253_402_300_800, i64::MAX] {
            assert_eq!(
                unit.format(UnixTime::from_secs(secs)),
                "",
                "{unit:?} {secs}"
            );
        }
        let last = UnixTime::from_secs(253_402_300_799);
        assert_eq!(
            unit.parse(unit.format(last).as_bytes()),
            Some(last),
            "{unit:?}"
        );
    }
}

#[test]
fn a_date_has_one_spelling() {
    let time = UnixTime::from_secs(1_795_248_000);
    for (unit, text) in [
        (TimeUnit::Rfc3339Utc, "2026-11-21T08:00:00"),
        (TimeUnit::HttpDate, "Sat, 21 Nov 2026 08:00:00 GMT"),
    ] {
        assert_eq!(unit.parse(text.as_bytes()), Some(time), "{text}");
        assert_eq!(unit.format(time), text);
    }
    let fraction = TimeUnit::Rfc3339Utc.parse(b"2026-11-21T08:00:00.551");
    assert_eq!(fraction, Some(UnixTime::from_millis(1_795_248_000_551)));
    for bad in [
        "2026-11-21T08:00:00Z",
        "2026-11-21T08:00:00+01:00",
        "2026-11-21T08:00:00.",
        "2026-11-21",
    ] {
        assert_eq!(TimeUnit::Rfc3339Utc.parse(bad.as_bytes()), None, "{bad}");
    }
    for bad in [
        "Sat, 21 Nov 2026 08:00:00 +0000",
        "Sun, 21 Nov 2026 08:00:00 GMT",
        "21 Nov 2026 08:00:00 GMT",
        "Sat, 21 Nov 2026 08:00:00  GMT",
        "Saturday, 21-Nov-26 08:00:00 GMT",
    ] {
        assert_eq!(TimeUnit::HttpDate.parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn only_canonical_base64_of_the_exact_length_decodes() {
    let text = STANDARD.encode([7; 32]);
    assert_eq!(
        Encoding::Base64
            .decode(text.as_bytes(), TagLen::Exactly(32))
            .unwrap()
            .bytes(),
        [7; 32]
    );
    let unpadded = text.trim_end_matches('=');
    // The last character before the padding holds two bits that must be zero.
    let trailing_bits = format!("{}d=", &text[..42]);
    for bad in [
        unpadded.to_owned(),
        format!("{text}="),
        format!("{text} "),
        format!(" {text}"),
        format!("{}!!", &text[..42]),
        trailing_bits,
        STANDARD.encode([7; 31]),
        STANDARD.encode([7; 33]),
        text.replace('B', "_"),
        String::new(),
    ] {
        assert!(
            Encoding::Base64
                .decode(bad.as_bytes(), TagLen::Exactly(32))
                .is_none(),
            "{bad:?}"
        );
    }
}

#[test]
fn no_two_texts_in_base64_decode_to_the_same_bytes() {
    for encoding in [Encoding::Base64, Encoding::Base64Url] {
        for len in 1..8_u8 {
            let bytes: Vec<u8> = (0..len).map(|at| at.wrapping_mul(85)).collect();
            let canonical = encoding.encode(&bytes);
            let len = TagLen::AtMost(8);
            let decoded = encoding.decode(canonical.as_bytes(), len).unwrap();
            assert_eq!(decoded.bytes(), bytes);
            let longer = [format!("{canonical}="), format!("{canonical}A")];
            let texts = longer.into_iter().chain([canonical.clone()]);
            for text in texts.map(String::into_bytes) {
                for cut in 0..=text.len() {
                    for at in 0..cut {
                        for byte in 0..=u8::MAX {
                            let mut text = text[..cut].to_vec();
                            text[at] = byte;
                            // The text is the encoding of its decoded bytes.
                            if let Some(tag) = encoding.decode(&text, len) {
                                assert_eq!(encoding.encode(tag.bytes()).as_bytes(), text);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn hex_is_case_insensitive_and_of_the_exact_length() {
    assert_eq!(
        Encoding::Hex
            .decode(b"0aFF", TagLen::Exactly(2))
            .unwrap()
            .bytes(),
        [0x0a, 0xff]
    );
    for bad in ["", "0a", "0aFF0", "0aFF00", "0aFG", " 0aFF", "0x0a"] {
        assert!(
            Encoding::Hex
                .decode(bad.as_bytes(), TagLen::Exactly(2))
                .is_none(),
            "{bad:?}"
        );
    }
}

#[test]
fn an_id_is_visible_ascii() {
    assert!(is_valid_id(b"evt_1-2:3."));
    assert!(is_valid_id(&[b'a'; 256]));
    for bad in [&b""[..], b"a b", b"a\nb", &[b'a'; 257], "é".as_bytes()] {
        assert!(!is_valid_id(bad), "{bad:?}");
    }
}
