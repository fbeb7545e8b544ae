//! Reads the output of `curl -v`: each line of the request begins with `> `.

use http::Method;

use super::error::CaptureError;
use super::head::CapturedHead;
use super::line::{Line, lines};
use super::selection::Selection;
use super::{CaptureFile, Entry, header_lines};

/// Whether a line `> METHOD TARGET HTTP/1.1` occurs.
pub(super) fn is_verbose_output(bytes: &[u8]) -> bool {
    let mut sent = lines(bytes).filter_map(sent_line);
    sent.any(|line| CapturedHead::from_request_line(line.text).is_some())
}

/// Reads the head of one request. The output does not contain the body.
pub(super) fn parse(bytes: &[u8], entry: Entry) -> Result<CaptureFile, CaptureError> {
    let mut selection = Selection::new(entry);
    let mut open: Option<CapturedHead> = None;
    for line in lines(bytes).filter_map(sent_line) {
        if let Some(head) = CapturedHead::from_request_line(line.text) {
            offer(&mut selection, open.take());
            open = Some(head.map_err(|fault| CaptureError::at_line(line.number, fault))?);
        } else if line.text.is_empty() {
            offer(&mut selection, open.take());
        } else if let Some(head) = &mut open {
            header_lines::push(head, line)?;
        }
    }
    offer(&mut selection, open);
    Ok(selection.finish()?.finish())
}

fn offer(selection: &mut Selection<CapturedHead>, head: Option<CapturedHead>) {
    if let Some(head) = head {
        let method = head.method.clone().unwrap_or(Method::POST);
        selection.offer(&method, head);
    }
}

/// Returns a line that curl has sent, without its mark.
fn sent_line(line: Line<'_>) -> Option<Line<'_>> {
    let text = line.text.strip_prefix(b">")?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    Some(Line { text, ..line })
}
