//! The ways in which libraries encode the fields of a form.

use super::fields::Field;

/// A way to encode fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// The characters that are not escaped, beside letters, digits and `-._`.
    safe: u128,
    blank: Blank,
    hex: Hex,
    pub(super) bare: Bare,
}

/// How a blank is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blank {
    Plus,
    Escape,
}

/// The case of the digits of an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hex {
    Upper,
    Lower,
}

/// How a field without a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// As it was captured.
    AsRead,
    /// `name=`
    Equals,
    /// `name`
    Name,
    /// Not at all.
    Omitted,
}

/// The disputed characters that popular libraries leave as they are, and how the libraries encode a blank.
const LIBRARIES: &[(&str, Blank, Hex)] = &[
    // WHATWG URL, Java `URLEncoder`, Ruby `URI.encode_www_form`
    ("*", Blank::Plus, Hex::Upper),
    // Python `urlencode`, Go `url.Values`, .NET `FormUrlEncodedContent`
    ("~", Blank::Plus, Hex::Upper),
    // RFC 3986: `curl --data-urlencode`, PHP `rawurlencode`, the package `qs` of npm
    ("~", Blank::Escape, Hex::Upper),
    // PHP `http_build_query`
    ("", Blank::Plus, Hex::Upper),
    // JavaScript `encodeURIComponent`, `querystring` of Node
    ("~!*'()", Blank::Escape, Hex::Upper),
    // jQuery `param`
    ("~!*'()", Blank::Plus, Hex::Upper),
    // .NET `WebUtility.UrlEncode` and `HttpUtility.UrlEncode`
    ("!*()", Blank::Plus, Hex::Upper),
    ("!*()", Blank::Plus, Hex::Lower),
    // Python `quote`
    ("~/", Blank::Escape, Hex::Upper),
    // axios `AxiosURLSearchParams`
    ("~!*'():$,", Blank::Plus, Hex::Upper),
    ("~!*'():$,[]", Blank::Plus, Hex::Upper),
    // The least that a parser of forms needs.
    ("~!*'():$,[]/?@;", Blank::Escape, Hex::Upper),
    ("~!*'():$,[]/?@;", Blank::Plus, Hex::Upper),
    ("*[]", Blank::Plus, Hex::Upper),
    ("~", Blank::Plus, Hex::Lower),
    ("~", Blank::Escape, Hex::Lower),
    ("*", Blank::Plus, Hex::Lower),
    ("~!*'()", Blank::Escape, Hex::Lower),
];

/// The characters that some libraries escape, and others do not. No library escapes `-._`.
const DISPUTED: &[u8] = b"~!*'():$,[]/?@;";

/// About the most styles that escape a subset of the disputed characters.
const MAX_COMBINATIONS: usize = 4096;

impl Style {
    /// Appends `field`.
    pub(super) fn write(self, field: &Field, out: &mut Vec<u8>) {
        let has_equals = match self.bare {
            Bare::AsRead => field.value.is_some(),
            Bare::Equals => true,
            Bare::Name | Bare::Omitted => !field.value().is_empty(),
        };
        if self.bare == Bare::Omitted && !has_equals {
            return;
        }
        if !out.is_empty() {
            out.push(b'&');
        }
        self.encode(&field.name, out);
        if has_equals {
            out.push(b'=');
            self.encode(field.value(), out);
        }
    }

    fn encode(self, text: &[u8], out: &mut Vec<u8>) {
        let digits = match self.hex {
            Hex::Upper => b"0123456789ABCDEF",
            Hex::Lower => b"0123456789abcdef",
        };
        for byte in text {
            match byte {
                b' ' if self.blank == Blank::Plus => out.push(b'+'),
                byte if self.keeps(*byte) => out.push(*byte),
                byte => out.extend([
                    b'%',
                    digits[usize::from(byte >> 4)],
                    digits[usize::from(byte & 15)],
                ]),
            }
        }
    }

    fn keeps(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || b"-._".contains(&byte)
            || (byte < 128 && self.safe & (1 << byte) != 0)
    }
}

/// How often each byte occurs in the fields of a form. It gives the length of the form in any
/// style, without the form.
pub(super) struct Tally {
    counts: [usize; 256],
    fields: usize,
    /// The number of fields without `=`, and of fields without a value.
    without_equals: usize,
    without_value: usize,
    names_without_value: [usize; 256],
}

impl Tally {
    pub(super) fn of(fields: &[Field]) -> Self {
        let mut tally = Self {
            counts: [0; 256],
            fields: fields.len(),
            without_equals: 0,
            without_value: 0,
            names_without_value: [0; 256],
        };
        for field in fields {
            for byte in field.name.iter().chain(field.value()) {
                tally.counts[usize::from(*byte)] += 1;
            }
            tally.without_equals += usize::from(field.value.is_none());
            if field.value().is_empty() {
                tally.without_value += 1;
                for byte in &field.name {
                    tally.names_without_value[usize::from(*byte)] += 1;
                }
            }
        }
        tally
    }

    /// Returns the length of the form in `style`.
    pub(super) fn len(&self, style: Style) -> usize {
        let text = |counts: &[usize; 256]| -> usize {
            let len = |(byte, count): (u8, &usize)| match byte {
                b' ' if style.blank == Blank::Plus => *count,
                byte if style.keeps(byte) => *count,
                _ => 3 * count,
            };
            (0..=255).zip(counts).map(len).sum()
        };
        let (fields, equals, omitted) = match style.bare {
            Bare::AsRead => (self.fields, self.fields - self.without_equals, 0),
            Bare::Equals => (self.fields, self.fields, 0),
            Bare::Name => (self.fields, self.fields - self.without_value, 0),
            Bare::Omitted => {
                let left = self.fields - self.without_value;
                (left, left, text(&self.names_without_value))
            }
        };
        text(&self.counts) - omitted + equals + fields.saturating_sub(1)
    }

    /// Returns the styles of popular libraries that differ for these fields.
    pub(super) fn libraries(&self) -> Vec<Style> {
        let mut styles = Vec::new();
        for (safe, blank, hex) in LIBRARIES {
            let style = self.distinct(mask(safe.as_bytes()), *blank, *hex);
            if !styles.contains(&style) {
                styles.push(style);
            }
        }
        styles
    }

    /// Returns the styles that escape any subset of the disputed characters, if the subsets are
    /// few or if `declared` is the length of the form.
    pub(super) fn combinations(&self, declared: Option<usize>) -> Vec<Style> {
        let most = if declared.is_some() { 12 } else { 5 };
        let is_present = |byte: &&u8| self.counts[usize::from(**byte)] > 0;
        let disputed: Vec<u8> = DISPUTED
            .iter()
            .filter(is_present)
            .take(most)
            .copied()
            .collect();
        let mut styles = Vec::new();
        for subset in 0..1_u32 << disputed.len() {
            let chosen = disputed
                .iter()
                .enumerate()
                .filter(|(index, _)| subset & (1 << index) != 0);
            let safe = chosen.fold(0, |safe, (_, byte)| safe | 1 << byte);
            let first = styles.len();
            for (blank, hex) in [
                (Blank::Escape, Hex::Lower),
                (Blank::Escape, Hex::Upper),
                (Blank::Plus, Hex::Lower),
                (Blank::Plus, Hex::Upper),
            ] {
                let style = self.distinct(safe, blank, hex);
                let fits = declared.is_none_or(|declared| self.len(style) == declared);
                if fits && !styles[first..].contains(&style) {
                    styles.push(style);
                }
            }
            if styles.len() >= MAX_COMBINATIONS {
                break;
            }
        }
        styles
    }

    /// Returns the ways to write fields without a value that differ from `AsRead`.
    pub(super) fn bares(&self) -> Vec<Bare> {
        let mut bares = Vec::new();
        if self.without_equals > 0 {
            bares.push(Bare::Equals);
        }
        if self.without_value > self.without_equals {
            bares.push(Bare::Name);
        }
        if self.without_value > 0 && self.without_value < self.fields {
            bares.push(Bare::Omitted);
        }
        bares
    }

    /// Returns a style that is equal for all parameters that write these fields alike.
    fn distinct(&self, safe: u128, blank: Blank, hex: Hex) -> Style {
        let is_present = |byte: u8| self.counts[usize::from(byte)] > 0;
        let present = |byte: &&u8| safe & (1 << **byte) != 0 && is_present(**byte);
        let style = Style {
            safe: DISPUTED
                .iter()
                .filter(present)
                .fold(0, |safe, byte| safe | 1 << byte),
            blank: if is_present(b' ') { blank } else { Blank::Plus },
            hex,
            bare: Bare::AsRead,
        };
        let has_letter = |byte: u8| byte >> 4 > 9 || byte & 15 > 9;
        let mut bytes = (0..=255).filter(|byte| is_present(*byte) && has_letter(*byte));
        match bytes.any(|byte| !style.keeps(byte)) {
            true => style,
            false => Style {
                hex: Hex::Upper,
                ..style
            },
        }
    }
}

fn mask(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |mask, byte| mask | 1 << byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<Field> {
        let mut fields = vec![
            Field::new("a b", "Zo\u{eb}~*(x)/y[0]!'"),
            Field::new("empty", ""),
            Field::new("c", "1 + 1 = 2 & 3"),
        ];
        fields.push(Field {
            name: b"bare".to_vec(),
            value: None,
        });
        fields
    }

    fn written(style: Style) -> String {
        let mut out = Vec::new();
        for field in &fields() {
            style.write(field, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_library_has_its_own_form() {
        let styles = Tally::of(&fields()).libraries();
        let forms: Vec<String> = styles.iter().map(|style| written(*style)).collect();
        let rest = "&empty=&c=1+%2B+1+%3D+2+%26+3&bare";
        let python = format!("a+b=Zo%C3%AB~%2A%28x%29%2Fy%5B0%5D%21%27{rest}");
        let java = format!("a+b=Zo%C3%AB%7E*%28x%29%2Fy%5B0%5D%21%27{rest}");
        let php = format!("a+b=Zo%C3%AB%7E%2A%28x%29%2Fy%5B0%5D%21%27{rest}");
        let jquery = format!("a+b=Zo%C3%AB~*(x)%2Fy%5B0%5D!'{rest}");
        let node = jquery.replace('+', "%20");
        for form in [&java, &python, &php, &jquery, &node] {
            assert!(forms.contains(form), "{form}");
        }
        let mut distinct = forms.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            forms.len(),
            "each style writes another form"
        );
    }

    #[test]
    fn the_tally_knows_the_length_of_every_style() {
        let tally = Tally::of(&fields());
        let mut styles = tally.libraries();
        styles.extend(tally.combinations(None));
        for mut style in styles {
            for bare in [Bare::AsRead, Bare::Equals, Bare::Name, Bare::Omitted] {
                style.bare = bare;
                assert_eq!(tally.len(style), written(style).len(), "{style:?}");
            }
        }
        assert_eq!(tally.bares(), [Bare::Equals, Bare::Name, Bare::Omitted]);
    }

    #[test]
    fn combinations_have_the_declared_length() {
        let tally = Tally::of(&fields());
        let len = tally
            .libraries()
            .iter()
            .map(|style| tally.len(*style))
            .max();
        let styles = tally.combinations(len);
        assert!(!styles.is_empty());
        assert!(styles.iter().all(|style| Some(tally.len(*style)) == len));
        assert_eq!(tally.combinations(Some(1)), []);
    }

    #[test]
    fn fields_of_letters_have_one_style() {
        let tally = Tally::of(&[Field::new("a", "b")]);
        assert_eq!(tally.libraries().len(), 1);
        assert_eq!(tally.combinations(None).len(), 1);
    }
}
