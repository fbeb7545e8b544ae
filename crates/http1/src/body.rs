//! Bodies: the bytes of a message after its head (RFC 9112 §6 and §7).

use bytes::BytesMut;
use http::HeaderName;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::error::BodyError;

/// Maximum size in bytes of the line before a chunk, with its extensions.
const MAX_SIZE_LINE: usize = 1024;
/// Maximum size in bytes of all trailers.
const MAX_TRAILERS: usize = 16 * 1024;
/// Maximum number of hexadecimal digits in the size of a chunk. Leading zeros do not count in
/// a lenient body.
const MAX_SIZE_DIGITS: usize = 8;

/// A long body reserves at most this many times the bytes that were received so far.
const GROWTH: u64 = 4;
/// A body of common size reserves this many times the received bytes, up to
/// [`FIRST_RESERVE`], so that it lies in one buffer from the socket to the upstream. Memory
/// that is reserved costs nothing until bytes are written to it.
const FIRST_GROWTH: u64 = 128;
/// Upper limit in bytes of the larger reservation.
const FIRST_RESERVE: u64 = 1024 * 1024;
/// Maximum number of bytes that one read takes of a body that is discarded.
const DISCARD_READ: u64 = 64 * 1024;

/// The rest of a body that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// This many bytes are left.
    Known(u64),
    /// The body comes in chunks.
    Chunked(Chunked, Strictness),
    /// The body ends with the connection.
    UntilClose,
    /// The body was read to its end.
    Done,
}

/// How strictly the lines between chunks are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Accepts only the grammar of RFC 9112. For requests, because a proxy in front of this
    /// parser may parse a deviation in another way.
    Strict,
    /// Accepts the deviations that servers are known for. For responses.
    Lenient,
}

/// The part of a chunked body that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// The line with the size of a chunk.
    Size,
    /// This many bytes of the current chunk.
    Data(u64),
    /// The CR LF after the data of a chunk.
    DataEnd,
    /// The trailers, and the number of their bytes that were read.
    Trailers(usize),
}

impl Body {
    /// Returns a chunked body before its first chunk.
    pub const fn chunked(strictness: Strictness) -> Self {
        Self::Chunked(Chunked::Size, strictness)
    }

    /// Returns whether the body was read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done | Self::Known(0))
    }

    /// Reserves memory for the next bytes of a body, so that the body lies in one buffer or in
    /// few. Call it before each [`next`](Self::next) with the whole length of the body.
    ///
    /// The first call waits for the first bytes. Each call reserves a multiple of the received
    /// bytes, because declared bytes may never arrive. A chunked body reserves nothing.
    ///
    /// # Errors
    ///
    /// Returns [`BodyError::Disconnected`] if the connection ends before the first byte.
    pub async fn reserve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        declared: u64,
        connection: &mut Connection<S>,
    ) -> Result<(), BodyError> {
        let Self::Known(left @ 1..) = *self else {
            return Ok(());
        };
        let is_first = declared == left;
        if is_first && connection.is_drained() {
            connection.fill_some().await?;
        }
        let read = &mut connection.read;
        if is_first || read.capacity() == 0 {
            let buffered = read.len() as u64;
            let received = declared - left + buffered;
            let wanted = received.saturating_mul(FIRST_GROWTH).min(FIRST_RESERVE);
            let wanted = wanted.max(received.saturating_mul(GROWTH));
            reserve(read, wanted.min(left.saturating_sub(buffered)));
        }
        Ok(())
    }

    /// Reserves memory for the next bytes of a body that is discarded, so that few reads
    /// suffice.
    pub fn reserve_for_discard<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S>,
    ) {
        if let Self::Known(left @ 1..) = *self
            && connection.is_drained()
        {
            reserve(&mut connection.read, left.min(DISCARD_READ));
        }
    }

    /// Returns the next bytes of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// Returns [`BodyError::Malformed`] if the chunks break the grammar, and
    /// [`BodyError::Disconnected`] if the connection ends first. After either, the
    /// connection cannot carry another message.
    pub async fn next<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<Option<BytesMut>, BodyError> {
        loop {
            match self {
                Self::Done | Self::Known(0) => return Ok(None),
                Self::Known(left) => {
                    let piece = read_data(connection, left).await?;
                    return Ok(Some(piece));
                }
                Self::UntilClose => {
                    if connection.is_drained() && connection.fill().await? == 0 {
                        *self = Self::Done;
                        return Ok(None);
                    }
                    return Ok(Some(connection.read.split()));
                }
                Self::Chunked(Chunked::Data(left), strictness) => {
                    let piece = read_data(connection, left).await?;
                    if *left == 0 {
                        *self = Self::Chunked(Chunked::DataEnd, *strictness);
                    }
                    return Ok(Some(piece));
                }
                Self::Chunked(Chunked::DataEnd, strictness) => {
                    if read_line(connection, 2).await?.len() != 2 {
                        return Err(BodyError::Malformed);
                    }
                    *self = Self::chunked(*strictness);
                }
                Self::Chunked(Chunked::Size, strictness) => {
                    let line = read_line(connection, MAX_SIZE_LINE).await?;
                    let size = parse_size(&line, *strictness).ok_or(BodyError::Malformed)?;
                    let next = match size {
                        0 => Chunked::Trailers(0),
                        size => Chunked::Data(size),
                    };
                    *self = Self::Chunked(next, *strictness);
                }
                // Trailers are read and dropped: no signature covers them.
                Self::Chunked(Chunked::Trailers(read), strictness) => {
                    let line = read_line(connection, MAX_TRAILERS - *read).await?;
                    *read += line.len();
                    if line.len() == 2 {
                        *self = Self::Done;
                    } else if *strictness == Strictness::Strict && !is_field(&line) {
                        return Err(BodyError::Malformed);
                    }
                }
            }
        }
    }
}

/// Reserves `len` bytes and one more. A read that does not fill the buffer needs no second
/// read to detect that the socket is empty.
fn reserve(read: &mut BytesMut, len: u64) {
    read.reserve(usize::try_from(len).map_or(0, |len| len + 1));
}

/// Returns at most `left` bytes that are available, and subtracts their number from `left`.
async fn read_data<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    left: &mut u64,
) -> Result<BytesMut, BodyError> {
    if connection.is_drained() {
        connection.fill_some().await?;
    }
    let len = connection.read.len();
    let len = usize::try_from(*left).map_or(len, |left| left.min(len));
    *left -= len as u64;
    Ok(connection.read.split_to(len))
}

/// Reads a line of at most `max_len` bytes, with its final CR LF. The line contains no
/// other CR or LF.
async fn read_line<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    max_len: usize,
) -> Result<BytesMut, BodyError> {
    let mut searched = 0;
    loop {
        let found = memchr::memchr(b'\n', &connection.read[searched..]);
        match found.map(|at| searched + at + 1) {
            Some(len) if len <= max_len => {
                let line = connection.read.split_to(len);
                let is_strict = line.ends_with(b"\r\n") && !line[..len - 2].contains(&b'\r');
                return is_strict.then_some(line).ok_or(BodyError::Malformed);
            }
            None if connection.read.len() < max_len => {}
            _ => return Err(BodyError::Malformed),
        }
        searched = connection.read.len();
        connection.fill_some().await?;
    }
}

/// Parses the line before a chunk and returns the size of the chunk.
fn parse_size(line: &[u8], strictness: Strictness) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    let digits = match strictness {
        Strictness::Strict => digits,
        Strictness::Lenient => {
            let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
            &digits[zeros.min(digits.len().saturating_sub(1))..]
        }
    };
    if !(1..=MAX_SIZE_DIGITS).contains(&digits.len()) {
        return None;
    }
    // The grammar allows blanks only before an extension (RFC 9112 §7.1.1).
    let has_valid_end = match (&rest[blanks..], strictness) {
        ([], Strictness::Strict) => blanks == 0,
        ([], Strictness::Lenient) => true,
        ([b';', extension @ ..], _) => !extension.iter().any(is_control),
        _ => false,
    };
    let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16);
    size.ok().filter(|_| has_valid_end)
}

/// Returns whether a trailer line is a field.
fn is_field(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line);
    let name = colon.map(|at| HeaderName::from_bytes(&line[..at]));
    matches!(name, Some(Ok(_))) && !line[..line.len() - 2].iter().any(is_control)
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && *byte != b'\t'
}

#[cfg(test)]
mod tests;
