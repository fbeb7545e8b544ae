//! A parser of server-sent events (WHATWG HTML §9.2.6). It accepts chunks with any borders, and
//! keeps a bounded number of bytes.

/// The size limit of one event, and of one line.
const MAX_EVENT: usize = 16 << 20;

/// A message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The name of the event, which is empty if the server sends none.
    pub(super) name: String,
    pub(super) data: String,
}

/// The server sent a line or an event above the size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Parses the bytes of one stream.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// Whether the last byte was a carriage return. A line feed after it ends no other line.
    after_return: bool,
    /// Whether a line has ended.
    has_begun: bool,
    event: Event,
    /// Whether the event has a field `data`.
    has_data: bool,
}

impl Parser {
    /// Parses the next bytes of the stream. Returns the events that they complete.
    ///
    /// # Errors
    ///
    /// Returns [`TooLong`] if a line or an event exceeds the limit. The stream is then of no use.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let follows_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if follows_return => {}
                b'\n' => events.extend(self.end_line()),
                b'\r' => {
                    self.after_return = true;
                    events.extend(self.end_line());
                }
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.event.data.len() > MAX_EVENT {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    /// Interprets the line. Returns the event that it completes.
    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = &*line;
        // A byte order mark may stand at the start of the stream.
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment has an empty field name. `id` and `retry` are not needed.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &str = "\u{feff}: hello\r\n\r\nevent: deliveries\r\nid: 5\r\ndata: {\"a\":\"é🚀\"}\r\n\
                          \r\n:\n\ndata\n\ndata:  two\ndata:three\n\nretry: 10\runknown: x\rdata: \
                          old\r\revent: alone\n\ndata: unfinished";

    fn expected() -> Vec<Event> {
        vec![
            event("deliveries", "{\"a\":\"é🚀\"}"),
            event("", ""),
            event("", " two\nthree"),
            event("", "old"),
        ]
    }

    #[test]
    fn events_are_found_with_every_border_of_chunks() {
        let bytes = STREAM.as_bytes();
        for size in 1..=bytes.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for chunk in bytes.chunks(size) {
                events.extend(parser.push(chunk).expect("the events are short"));
            }
            assert_eq!(events, expected(), "{size}");
        }
        for border in 0..=bytes.len() {
            let (first, second) = bytes.split_at(border);
            let mut parser = Parser::default();
            let mut events = parser.push(first).expect("the events are short");
            events.extend(parser.push(second).expect("the events are short"));
            assert_eq!(events, expected(), "{border}");
        }
    }

    #[test]
    fn a_huge_line_and_a_huge_event_are_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        let pushed = (0..64).map_while(|_| parser.push(&chunk).ok()).count();
        assert_eq!(pushed, MAX_EVENT >> 20);

        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &chunk, b"\n"].concat();
        let mut pushed = (0..64).map_while(|_| parser.push(&line).ok());
        assert!(pushed.by_ref().count() < 64);

        // A control: the same bytes in many events are accepted.
        let mut parser = Parser::default();
        let event = [line.as_slice(), b"\n"].concat();
        for _ in 0..64 {
            assert_eq!(parser.push(&event).map(|events| events.len()), Ok(1));
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_stream() {
        let mut parser = Parser::default();
        let events = parser.push(b"data: \xff\xfe\n\ndata: next\n\n");
        assert_eq!(
            events,
            Ok(vec![event("", "\u{fffd}\u{fffd}"), event("", "next")])
        );
    }
}
