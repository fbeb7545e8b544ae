//! The head and the body of a delivery, as `events show` and `queue show` print them.

mod body;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use serde::Deserialize;

use super::Error;
use super::api::Api;
use super::human::size;
use super::terminal::{Colour, Colours, Text};

/// How a page is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) width: usize,
    pub(super) colours: Colours,
}

/// The head and the body of a delivery, without its secrets.
#[derive(Debug, Deserialize)]
pub(super) struct CapturedRequest {
    pub(super) method: Text,
    pub(super) target: Option<Text>,
    #[serde(default)]
    pub(super) headers: Vec<(Text, Text)>,
    pub(super) body: Option<Body>,
    #[serde(default)]
    pub(super) redactions: Vec<Text>,
    #[serde(default)]
    pub(super) redacted: bool,
    pub(super) complete: Option<bool>,
    pub(super) expires: Option<Text>,
}

/// The start of a body.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    /// The bytes that the response has, in base64.
    pub(super) base64: String,
    /// The length of the whole body.
    pub(super) bytes: u64,
}

impl CapturedRequest {
    /// Writes the request, and its body if `with_body` is set.
    pub(super) fn write(
        &self,
        style: Style,
        with_body: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        style.title("request", out)?;
        let unknown = Text::from("(the target is not known)".to_owned());
        let target = self.target.as_ref().unwrap_or(&unknown);
        writeln!(out, "  {} {target}", self.method)?;
        for (name, value) in &self.headers {
            writeln!(out, "  {name}: {value}")?;
        }
        let Some(body) = &self.body else {
            return Ok(());
        };
        if with_body {
            style.title("body", out)?;
            return body::write(body, style.width, out);
        }
        if body.bytes > 0 {
            let size = size(body.bytes);
            writeln!(out, "\n  the body has {size}; --body prints it")?;
        }
        Ok(())
    }
}

impl Style {
    /// Writes the title of a section.
    pub(super) fn title(&self, title: &str, out: &mut impl Write) -> io::Result<()> {
        let title = self.colours.paint(Some(Colour::Cyan), title);
        writeln!(out, "\n{title}")
    }
}

/// Writes the capture at `path` of the API to the new file `file`, which only its owner can read.
pub(super) async fn save(api: &Api, path: &str, file: &Path) -> Result<(), Error> {
    let capture = api.download(path).await?;
    write_new(file, &capture).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "; the command does not overwrite a file",
            _ => "",
        };
        Error::new(format!(
            "--save: cannot write {}: {error}{hint}",
            file.display()
        ))
    })
}

fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(file)?;
    let result = written.write_all(bytes).and_then(|()| written.sync_all());
    if result.is_err() {
        // Half a capture would be worse than none. The error of the write is the one to report.
        let _: io::Result<()> = std::fs::remove_file(file);
    }
    result
}
