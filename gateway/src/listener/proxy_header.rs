//! Parses the header of the PROXY protocol
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, versions 1 and 2).
//!
//! `fuzz/src/proxy_header.rs` includes this file, so it uses nothing else of the gateway.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Start of every header of version 2. No valid header of version 1 is shorter.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum size in bytes of a header of version 1, with its CR LF.
const MAX_LINE: usize = 107;
/// Maximum size in bytes of the addresses and extensions of version 2.
const MAX_ADDRESSES: usize = 4096;

/// A valid header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// The balancer forwards the connection of this client.
    Client(SocketAddr),
    /// The connection is the balancer's own, or its client has no IP address.
    Local,
}

/// Error of reading a header of the PROXY protocol.
#[derive(Debug)]
pub(crate) enum HeaderError {
    Malformed,
    Io(io::Error),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed header",
            Self::Io(_) => "the connection ended before the header did",
        })
    }
}

impl Error for HeaderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed => None,
            Self::Io(cause) => Some(cause),
        }
    }
}

impl From<io::Error> for HeaderError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// Reads a header and no byte after it.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<ProxyHeader, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_v2(stream).await;
    }
    let mut line = start.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(HeaderError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).ok();
    line.and_then(|line| line.strip_suffix("\r\n"))
        .and_then(parse_v1)
        .ok_or(HeaderError::Malformed)
}

/// Reads the rest of a header of version 2, after its signature.
async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, HeaderError> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let len = usize::from(stream.read_u16().await?);
    if len > MAX_ADDRESSES {
        return Err(HeaderError::Malformed);
    }
    let mut addresses = vec![0; len];
    stream.read_exact(&mut addresses).await?;
    match (command, family) {
        (0x20, _) | (0x21, 0x00 | 0x31) => Some(ProxyHeader::Local),
        (0x21, 0x11) => client_v2::<4>(&addresses, |ip| Ipv4Addr::from(ip).into()),
        (0x21, 0x21) => client_v2::<16>(&addresses, |ip| Ipv6Addr::from(ip).into()),
        _ => None,
    }
    .ok_or(HeaderError::Malformed)
}

/// Parses the addresses of version 2, for IP addresses of `N` bytes: the client, the
/// destination, the client's port, the destination's port, and extensions.
fn client_v2<const N: usize>(
    addresses: &[u8],
    to_ip: impl Fn([u8; N]) -> IpAddr,
) -> Option<ProxyHeader> {
    let (client, rest) = addresses.split_first_chunk::<N>()?;
    let (_destination, rest) = rest.split_first_chunk::<N>()?;
    let (client_port, rest) = rest.split_first_chunk::<2>()?;
    let (_destination_port, _extensions) = rest.split_first_chunk::<2>()?;
    let ip = to_ip(*client).to_canonical();
    let port = u16::from_be_bytes(*client_port);
    Some(ProxyHeader::Client(SocketAddr::new(ip, port)))
}

/// Parses a header of version 1, without its CR LF.
fn parse_v1(line: &str) -> Option<ProxyHeader> {
    let mut fields = line.strip_prefix("PROXY ")?.split(' ');
    let family = fields.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Local);
    }
    let is_of_family = |ip: &IpAddr| match family {
        "TCP4" => ip.is_ipv4(),
        "TCP6" => ip.is_ipv6(),
        _ => false,
    };
    let mut ip = || fields.next()?.parse::<IpAddr>().ok().filter(is_of_family);
    let (client, _destination) = (ip()?, ip()?);
    let mut port = || {
        let text = fields.next()?;
        let port: u16 = text.parse().ok()?;
        // This rejects a sign and leading zeros.
        (port.to_string() == text).then_some(port)
    };
    let (client_port, _destination_port) = (port()?, port()?);
    fields
        .next()
        .is_none()
        .then(|| ProxyHeader::Client(SocketAddr::new(client.to_canonical(), client_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, addresses].concat()
    }

    /// Returns the header in `bytes`, if it is valid, and the number of bytes after it.
    async fn read(bytes: &[u8]) -> (Option<ProxyHeader>, usize) {
        let mut stream = bytes;
        let header = read_header(&mut stream).await;
        (header.ok(), stream.len())
    }

    #[tokio::test]
    async fn a_valid_header_names_the_client_and_no_byte_after_it_is_read() {
        let client = |text: &str| Some(ProxyHeader::Client(text.parse().expect("an address")));
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x80, 1, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6[33] = 9;
        let mut mapped = v6;
        mapped[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets());
        for (bytes, expected) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 32769 80\r\n".to_vec(),
                client("192.0.2.7:32769"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 1 0\r\n".to_vec(),
                client("[2001:db8::7]:1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(ProxyHeader::Local)),
            (
                b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
                Some(ProxyHeader::Local),
            ),
            (v2(0x21, 0x11, &v4), client("192.0.2.7:32769")),
            (
                v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()),
                client("192.0.2.7:32769"),
            ),
            (v2(0x21, 0x21, &v6), client("[::1]:9")),
            (v2(0x21, 0x21, &mapped), client("192.0.2.7:9")),
            (v2(0x20, 0x00, b""), Some(ProxyHeader::Local)),
            (v2(0x20, 0x11, &v4), Some(ProxyHeader::Local)),
            (v2(0x21, 0x00, b"tlv"), Some(ProxyHeader::Local)),
        ] {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let all = [&bytes[..], b"POST"].concat();
            assert_eq!(read(&all).await, (expected, 4), "{shown:?}");
            // A prefix of the header is invalid.
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]).await.0, None, "{shown:?} {end}");
            }
        }
    }

    #[tokio::test]
    async fn the_error_of_a_lost_connection_keeps_its_cause() {
        let error = read_header(&mut &b"PROXY TCP4 192."[..]).await.unwrap_err();
        let cause = error.source().expect("an I/O error");
        let cause = cause.downcast_ref::<io::Error>().expect("an I/O error");
        assert_eq!(cause.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn an_invalid_header_names_no_client() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        for text in [
            "POST /hooks HTTP/1.1\r\nHost: a\r\n\r\n",
            "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\nmore\r\n",
            &long,
        ] {
            assert_eq!(read(text.as_bytes()).await.0, None, "{text:?}");
        }
        for bytes in [
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; MAX_ADDRESSES + 1]),
        ] {
            assert_eq!(read(&bytes).await.0, None, "{:?}", &bytes[12..16]);
        }
    }
}
