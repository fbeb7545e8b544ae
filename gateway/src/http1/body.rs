//! Bodies: how one is framed (RFC 9112 §6), and its bytes as they arrive.

use bytes::BytesMut;
use http::HeaderName;

use super::Connection;

/// Most bytes of the line before a chunk, with what extends it.
const MAX_LINE: usize = 1024;
/// Most bytes of trailers.
const MAX_TRAILERS: usize = 16 * 1024;
/// Most digits of a chunk's size, which are hexadecimal.
const MAX_DIGITS: usize = 8;

/// So many times what has come there is room for, of a body that is long.
const GROWTH: u64 = 4;
/// So many times, of one that is common, and for so many bytes: it lies in one buffer then,
/// from the socket to the upstream. What is reserved takes no memory until it is written to.
const GROWTH_AT_FIRST: u64 = 128;
const ROOM_AT_FIRST: u64 = 1024 * 1024;
/// Most bytes that are read at once of a body that nobody wants.
const UNWANTED: u64 = 64 * 1024;

/// A body that is read, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Known(u64),
    Chunked(Chunked, Grammar),
    /// As long as the connection.
    UntilClose,
    Done,
}

/// How strictly the lines between chunks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// By the letter: what reads them otherwise may stand in front.
    OfSenders,
    /// As servers write them.
    OfServers,
}

/// What comes next of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    Size,
    Data(u64),
    DataEnd,
    /// With so many bytes read of it.
    Trailers(usize),
}

/// A body that has no end that can be found: it stopped, or is not framed as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl Body {
    pub(crate) const fn chunked(grammar: Grammar) -> Self {
        Self::Chunked(Chunked::Size, grammar)
    }

    /// Whether it was read to its end.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Known(0))
    }

    /// Makes room for what comes next of a body of `declared` bytes, so that its pieces lie
    /// one behind the other in one buffer or few. What a length announces may never come:
    /// how much room there is depends on what has, of which this waits for the first.
    ///
    /// # Errors
    ///
    /// [`Broken`]. It ended before that.
    pub(crate) async fn make_room(
        &self,
        declared: u64,
        connection: &mut Connection,
    ) -> Result<(), Broken> {
        let Self::Known(left @ 1..) = *self else {
            return Ok(());
        };
        let is_first = declared == left;
        if is_first && connection.is_drained() {
            fill(connection).await?;
        }
        let read = &mut connection.read;
        if is_first || read.capacity() == 0 {
            let here = read.len() as u64;
            let come = declared - left + here;
            let room = come.saturating_mul(GROWTH_AT_FIRST).min(ROOM_AT_FIRST);
            let room = room.max(come.saturating_mul(GROWTH));
            reserve(read, room.min(left.saturating_sub(here)));
        }
        Ok(())
    }

    /// Makes room for what comes next of a body that nobody wants, so that it takes few reads.
    pub(crate) fn make_room_for_unwanted(&self, connection: &mut Connection) {
        if let Self::Known(left @ 1..) = *self
            && connection.is_drained()
        {
            reserve(&mut connection.read, left.min(UNWANTED));
        }
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Broken`]. What comes after it is not known to be anything.
    pub(crate) async fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<BytesMut>, Broken> {
        loop {
            match self {
                Self::Done | Self::Known(0) => return Ok(None),
                Self::Known(left) => {
                    let piece = piece(connection, left).await?;
                    return Ok(Some(piece));
                }
                Self::UntilClose => {
                    if connection.is_drained() && connection.fill().await.map_err(|_| Broken)? == 0
                    {
                        *self = Self::Done;
                        return Ok(None);
                    }
                    return Ok(Some(connection.read.split()));
                }
                Self::Chunked(Chunked::Data(left), grammar) => {
                    let piece = piece(connection, left).await?;
                    if *left == 0 {
                        *self = Self::Chunked(Chunked::DataEnd, *grammar);
                    }
                    return Ok(Some(piece));
                }
                Self::Chunked(Chunked::DataEnd, grammar) => {
                    if line(connection, 2).await?.len() != 2 {
                        return Err(Broken);
                    }
                    *self = Self::chunked(*grammar);
                }
                Self::Chunked(Chunked::Size, grammar) => {
                    let line = line(connection, MAX_LINE).await?;
                    let next = match size(&line, *grammar).ok_or(Broken)? {
                        0 => Chunked::Trailers(0),
                        size => Chunked::Data(size),
                    };
                    *self = Self::Chunked(next, *grammar);
                }
                // Nobody has asked for them, and nobody has signed them.
                Self::Chunked(Chunked::Trailers(read), grammar) => {
                    let line = line(connection, MAX_TRAILERS - *read).await?;
                    *read += line.len();
                    if line.len() == 2 {
                        *self = Self::Done;
                    } else if *grammar == Grammar::OfSenders && !is_field(&line) {
                        return Err(Broken);
                    }
                }
            }
        }
    }
}

/// Makes room for so many bytes and one more: a read that leaves some of it free need not be
/// followed by one that finds nothing.
fn reserve(read: &mut BytesMut, room: u64) {
    read.reserve(usize::try_from(room).map_or(0, |room| room + 1));
}

/// What there is of the `left` bytes that are expected.
async fn piece(connection: &mut Connection, left: &mut u64) -> Result<BytesMut, Broken> {
    if connection.is_drained() {
        fill(connection).await?;
    }
    let len = connection.read.len();
    let len = usize::try_from(*left).map_or(len, |left| left.min(len));
    *left -= len as u64;
    Ok(connection.read.split_to(len))
}

/// A line of at most `most` bytes, with the CR LF that ends it and nothing of either
/// within it.
async fn line(connection: &mut Connection, most: usize) -> Result<BytesMut, Broken> {
    let mut searched = 0;
    loop {
        let found = memchr::memchr(b'\n', &connection.read[searched..]);
        match found.map(|at| searched + at + 1) {
            Some(len) if len <= most => {
                let line = connection.read.split_to(len);
                let is_strict = line.ends_with(b"\r\n") && !line[..len - 2].contains(&b'\r');
                return is_strict.then_some(line).ok_or(Broken);
            }
            None if connection.read.len() < most => {}
            _ => return Err(Broken),
        }
        searched = connection.read.len();
        fill(connection).await?;
    }
}

async fn fill(connection: &mut Connection) -> Result<(), Broken> {
    match connection.fill().await {
        Ok(len) if len > 0 => Ok(()),
        _ => Err(Broken),
    }
}

/// The size of a chunk, by the line before it.
fn size(line: &[u8], grammar: Grammar) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    let digits = match grammar {
        Grammar::OfSenders => digits,
        Grammar::OfServers => {
            let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
            &digits[zeros.min(digits.len().saturating_sub(1))..]
        }
    };
    if !(1..=MAX_DIGITS).contains(&digits.len()) {
        return None;
    }
    // Blanks are allowed before an extension alone (RFC 9112 §7.1.1).
    let is_well_ended = match (&rest[blanks..], grammar) {
        ([], Grammar::OfSenders) => blanks == 0,
        ([], Grammar::OfServers) => true,
        ([b';', extension @ ..], _) => !extension.iter().any(is_control),
        _ => false,
    };
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16);
    size.ok().filter(|_| is_well_ended)
}

/// Whether a line of trailers is a field.
fn is_field(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line);
    let name = colon.map(|at| HeaderName::from_bytes(&line[..at]));
    matches!(name, Some(Ok(_))) && !line[..line.len() - 2].iter().any(is_control)
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bytes::Bytes;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// Reads a body to its end: its bytes, and those after it.
    async fn read(mut body: Body, connection: &mut Connection) -> Result<(Bytes, Bytes), Broken> {
        let mut all = BytesMut::new();
        while let Some(piece) = body.next(connection).await? {
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
        assert!(body.is_done());
        Ok((all.freeze(), connection.read.split().freeze()))
    }

    /// Sends `wire` in pieces of `size`, each of which is read before the next comes.
    async fn send(wire: &'static [u8], size: usize) -> Connection {
        let (mut sender, receiver) = duplex(size);
        tokio::spawn(async move { sender.write_all(wire).await });
        Connection::new(Box::new(receiver))
    }

    #[tokio::test]
    async fn a_body_is_the_same_however_it_is_cut() {
        let chunked =
            b"5\r\nhello\r\n01;a=\"b\"\r\n,\r\n6 ;x\r\n world\r\n0\r\nX: y\r\nZ: \r\n\r\nGET";
        let known = b"hello, worldGET";
        let bodies: [(Body, &'static [u8]); 2] = [
            (Body::chunked(Grammar::OfSenders), &chunked[..]),
            (Body::Known(12), &known[..]),
        ];
        for (body, wire) in bodies {
            for size in 1..=wire.len() {
                let mut connection = send(wire, size).await;
                let (read, rest) = read(body, &mut connection).await.expect("it is whole");
                assert_eq!(&read[..], b"hello, world", "{body:?} {size}");
                assert!(b"GET".starts_with(&rest), "{rest:?}");
            }
        }
        let mut connection = send(known, 4).await;
        let (read, _) = read(Body::UntilClose, &mut connection)
            .await
            .expect("an end");
        assert_eq!(&read[..], known);
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_is_framed_otherwise_is_broken() {
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_LINE));
        let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(MAX_TRAILERS / 6 + 1));
        for wire in [
            "",
            "5",
            "5\r\nhell",
            "5\r\nhello",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\n",
            "5\r\nhello\r\n0\r\nX: y\n\r\n",
            "\r\n",
            ";a\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "5\x0c;x\r\nhello\r\n0\r\n\r\n",
            "5;\0\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
            "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
            "5,\r\nhello\r\n0\r\n\r\n",
            "5;\r\rhello\r\n0\r\n\r\n",
            "100000000\r\n",
            "000000005\r\nhello\r\n0\r\n\r\n",
            long.as_str(),
            trailers.as_str(),
        ] {
            let mut connection = Connection::new(Box::new(Cursor::new(wire.as_bytes().to_vec())));
            let outcome = read(Body::chunked(Grammar::OfSenders), &mut connection).await;
            assert_eq!(outcome.err(), Some(Broken), "{wire:?}");
        }
        for wire in [
            "5  \r\nhello\r\n0 \r\n\r\n",
            "0000000005\r\nhello\r\n00\r\nx\r\n\r\n",
        ] {
            let mut connection = Connection::new(Box::new(Cursor::new(wire.as_bytes().to_vec())));
            let of_server = read(Body::chunked(Grammar::OfServers), &mut connection).await;
            assert_eq!(
                of_server.map(|(body, _)| body),
                Ok("hello".into()),
                "{wire:?}"
            );
        }
        let mut connection = Connection::new(Box::new(Cursor::new(b"hell".to_vec())));
        assert!(read(Body::Known(5), &mut connection).await.is_err());
    }

    #[tokio::test]
    async fn pieces_lie_one_behind_the_other_and_there_is_room_for_little_that_has_not_come() {
        static WIRE: [u8; 5_000_000] = [7; 5_000_000];
        for (declared, comes_with_head, most_parts) in [
            (1_000_000, true, 1),
            (1_000_000, false, 1),
            (5_000_000, true, 3),
        ] {
            let wire = &WIRE[..declared];
            let declared = declared as u64;
            let mut connection = send(wire, 10_000).await;
            if comes_with_head {
                connection.fill().await.expect("it comes");
            }
            let mut body = Body::Known(declared);
            let mut parts: Vec<BytesMut> = Vec::new();
            let mut taken = 0;
            loop {
                body.make_room(declared, &mut connection).await.unwrap();
                let room = connection.read.capacity();
                let come = taken + connection.read.len();
                let most = (130 * come).min(1_100_000).max(5 * come);
                assert!(room <= most.max(100_000), "{room} after {come}");
                let Some(piece) = body.next(&mut connection).await.unwrap() else {
                    break;
                };
                taken += piece.len();
                match parts.last_mut() {
                    Some(part) if part.as_ptr_range().end == piece.as_ptr() => part.unsplit(piece),
                    _ => parts.push(piece),
                }
            }
            assert!(parts.len() <= most_parts, "{} of {declared}", parts.len());
            assert!(parts.concat() == wire);
        }
        // One byte reserves next to nothing, whatever it announces.
        let mut connection = Connection::new(Box::new(Cursor::new(b"7".to_vec())));
        let made = Body::Known(1_000_000)
            .make_room(1_000_000, &mut connection)
            .await;
        assert_eq!(made, Ok(()));
        assert!(connection.read.capacity() <= 32 * 1024);
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_in_few_pieces_and_little_room() {
        static WIRE: [u8; 1_000_000] = [7; 1_000_000];
        for (declared, most_pieces) in [(60_000, 2), (1_000_000, 20)] {
            let mut connection = send(&WIRE[..declared], WIRE.len()).await;
            connection.fill().await.expect("it comes");
            let mut body = Body::Known(declared as u64);
            let (mut read, mut pieces) = (0, 0);
            loop {
                body.make_room_for_unwanted(&mut connection);
                assert!(connection.read.capacity() <= 100_000);
                let Some(piece) = body.next(&mut connection).await.unwrap() else {
                    break;
                };
                read += piece.len();
                pieces += 1;
            }
            assert_eq!(read, declared);
            assert!(pieces <= most_pieces, "{pieces}");
        }
    }
}
