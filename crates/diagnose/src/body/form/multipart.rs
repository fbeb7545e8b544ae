//! Forms in `multipart/form-data`.

use memchr::memmem;

use super::fields::Field;

/// A part of a body in `multipart/form-data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'b> {
    /// The name, as it is written. Empty if the part has none.
    pub(crate) name: &'b [u8],
    pub(crate) value: &'b [u8],
}

/// The most parts of a body that are read.
const MAX_PARTS: usize = 200;

/// Returns the parts of `body`, whose first line is the delimiter. Line ends may have lost their
/// carriage return.
pub(crate) fn parts(body: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let Some(end) = memchr::memchr(b'\n', &body[..body.len().min(200)]) else {
        return parts;
    };
    let delimiter = body[..end].trim_ascii_end();
    if !delimiter.starts_with(b"--") || delimiter.len() < 3 {
        return parts;
    }
    let finder = memmem::Finder::new(delimiter);
    let mut rest = &body[end + 1..];
    while let Some(end) = finder.find(rest)
        && parts.len() < MAX_PARTS
    {
        if let Some(part) = part(&rest[..end]) {
            parts.push(part);
        }
        rest = &rest[end + delimiter.len()..];
    }
    parts
}

/// Reads the headers and the value of a part. A line end is before the next delimiter.
fn part(text: &[u8]) -> Option<Part<'_>> {
    let head_end = |blank_line: &[u8]| Some((memmem::find(text, blank_line)?, blank_line.len()));
    let (at, len) = head_end(b"\r\n\r\n").or_else(|| head_end(b"\n\n"))?;
    let value = text[at + len..].strip_suffix(b"\n")?;
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    let name = memmem::find(&text[..at], b" name=\"").map(|start| {
        let name = &text[start + 7..at];
        &name[..memchr::memchr(b'"', name).unwrap_or(name.len())]
    });
    Some(Part {
        name: name.unwrap_or_default(),
        value,
    })
}

/// Returns the fields of the form in `body`, if it has a field.
pub(super) fn fields(body: &[u8]) -> Option<Vec<Field>> {
    let parts = parts(body);
    let field = |part: &Part<'_>| Field::new(part.name, part.value);
    (!parts.is_empty()).then(|| parts.iter().map(field).collect())
}

/// Returns the boundary that `content_type` names.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let value = content_type
        .strip_prefix("multipart/form-data")?
        .split_once("boundary=")?
        .1;
    let value = value.split(';').next()?.trim().trim_matches('"');
    (!value.is_empty()).then_some(value)
}

/// Writes `fields` in the ways of popular libraries.
pub(super) fn write<'f>(
    fields: &'f [Field],
    boundary: &'f str,
) -> impl Iterator<Item = Vec<u8>> + 'f {
    let types: [&[u8]; 3] = [
        b"",
        b"\r\nContent-Type: text/plain",
        b"\r\nContent-Type: text/plain; charset=utf-8",
    ];
    let ends: [&[u8]; 2] = [b"\r\n", b""];
    let write = move |(content_type, end): (&[u8], &[u8])| {
        let mut out = Vec::new();
        for field in fields {
            out.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").bytes());
            out.extend(&field.name);
            out.push(b'"');
            out.extend(content_type);
            out.extend(b"\r\n\r\n");
            out.extend(field.value());
            out.extend(b"\r\n");
        }
        out.extend(format!("--{boundary}--").bytes());
        out.extend(end);
        out
    };
    types
        .into_iter()
        .flat_map(move |content_type| ends.map(|end| (content_type, end)))
        .map(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_form_is_read_back() {
        let written = [
            Field::new("a", "1"),
            Field::new("b", ""),
            Field::new("c", "x\r\n--y\r\n"),
        ];
        for body in write(&written, "----b0undary") {
            assert_eq!(fields(&body).as_deref(), Some(&written[..]));
            // The line ends of text tools: only the value loses its own.
            let text = String::from_utf8(body).unwrap().replace('\r', "");
            let lost = fields(text.as_bytes()).unwrap();
            assert_eq!(lost[0], written[0]);
            assert_eq!(lost[2].value(), b"x\n--y\n");
        }
    }

    #[test]
    fn other_bodies_have_no_parts() {
        for body in [
            "",
            "--",
            "--\r\n",
            "--x",
            "a=b",
            "--x\r\n--x--\r\n",
            "--x\r\n\r\na",
        ] {
            assert_eq!(fields(body.as_bytes()), None, "{body}");
        }
        let many = "--x\r\n\r\n\r\n".repeat(MAX_PARTS * 2);
        assert_eq!(parts(many.as_bytes()).len(), MAX_PARTS);
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        let rows = [
            ("multipart/form-data; boundary=x", Some("x")),
            (
                "multipart/form-data; boundary=\"a b\"; charset=utf-8",
                Some("a b"),
            ),
            ("multipart/form-data", None),
            ("application/json; boundary=x", None),
        ];
        for (content_type, expected) in rows {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }
}
