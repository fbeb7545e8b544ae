//! Connections that a load balancer passes on, with a header in front that says whose they
//! are (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, versions 1 and 2).
//! Whoever can send one chooses the address that is counted and logged, so it is taken from
//! known networks alone; and there it has to be, or anybody who gets past the balancer
//! would be taken for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::{SocketDigest, Stream};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::Network;
use crate::gateway::Gateway;
use crate::listener::rejected_connection::ConnectionRejection;
use crate::stream::client;

/// What every header of version 2 begins with. No shorter one of version 1 is valid.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its end.
const LINE: usize = 107;
/// The longest addresses and extensions of version 2 that are read.
const ADDRESSES: usize = 4096;

/// Who may say whose a connection is.
#[derive(Clone, Debug)]
pub(crate) struct ProxyProtocolPeers(Arc<[Network]>);

impl ProxyProtocolPeers {
    /// None if there are none, and connections are of those who make them.
    pub(crate) fn new(networks: &[Network]) -> Option<Self> {
        (!networks.is_empty()).then(|| Self(networks.into()))
    }

    /// Reads the header of a connection, which is of the address in it from there on. None
    /// if there is no good one, or not from one of these.
    pub(crate) async fn pass_on(&self, gateway: &Gateway, mut stream: Stream) -> Option<Stream> {
        let balancer = client(&stream)?;
        if !self.0.iter().any(|network| network.contains(balancer)) {
            gateway.turn_away(ConnectionRejection::NoBalancer, Some(balancer), None);
            return None;
        }
        let Some(header) = header(&mut stream).await else {
            gateway.turn_away(ConnectionRejection::NoProxyHeader, Some(balancer), None);
            return None;
        };
        if let Header::Of(client) = header {
            let digest = SocketDigest::from_raw_fd(stream.id());
            // It is new, so that nothing is there yet.
            let _: Result<(), _> = digest.peer_addr.set(Some(PeerAddr::Inet(client)));
            stream.set_socket_digest(digest);
        }
        Some(stream)
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// The connection is of this client.
    Of(SocketAddr),
    /// It is the balancer's own, or of somebody who has no such address.
    Own,
}

/// Reads a header and nothing after it.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Option<Header> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await.ok()?;
    if start == SIGNATURE {
        return binary(stream).await;
    }
    let mut line = start.to_vec();
    if !line.starts_with(b"PROXY ") {
        return None;
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE {
            return None;
        }
        line.push(stream.read_u8().await.ok()?);
    }
    text(std::str::from_utf8(&line).ok()?.strip_suffix("\r\n")?)
}

/// What follows the signature of version 2.
async fn binary(stream: &mut (impl AsyncRead + Unpin)) -> Option<Header> {
    let command = stream.read_u8().await.ok()?;
    let family = stream.read_u8().await.ok()?;
    let len = usize::from(stream.read_u16().await.ok()?);
    if len > ADDRESSES {
        return None;
    }
    let mut addresses = vec![0; len];
    stream.read_exact(&mut addresses).await.ok()?;
    let of = |ip: IpAddr, port: &[u8; 2]| {
        let port = u16::from_be_bytes(*port);
        Some(Header::Of(SocketAddr::new(ip.to_canonical(), port)))
    };
    // Who it is for comes after whose it is, and extensions after that.
    match (command, family) {
        (0x20, _) | (0x21, 0x00 | 0x31) => Some(Header::Own),
        (0x21, 0x11) => {
            let (ip, rest) = addresses.split_first_chunk::<4>()?;
            let (_, rest) = rest.split_first_chunk::<4>()?;
            let (port, _) = rest.split_first_chunk::<2>()?;
            rest.get(..4)?;
            of(Ipv4Addr::from(*ip).into(), port)
        }
        (0x21, 0x21) => {
            let (ip, rest) = addresses.split_first_chunk::<16>()?;
            let (_, rest) = rest.split_first_chunk::<16>()?;
            let (port, _) = rest.split_first_chunk::<2>()?;
            rest.get(..4)?;
            of(Ipv6Addr::from(*ip).into(), port)
        }
        _ => None,
    }
}

/// A header of version 1, without its end.
fn text(line: &str) -> Option<Header> {
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Header::Own);
    }
    let is_of_family = |ip: &IpAddr| match family {
        "TCP4" => ip.is_ipv4(),
        "TCP6" => ip.is_ipv6(),
        _ => false,
    };
    let mut ip = || words.next()?.parse::<IpAddr>().ok().filter(is_of_family);
    let (client, _) = (ip()?, ip()?);
    let mut port = || {
        let text = words.next()?;
        let port: u16 = text.parse().ok()?;
        // Neither a sign nor a zero in front.
        (port.to_string() == text).then_some(port)
    };
    let (client_port, _) = (port()?, port()?);
    words
        .next()
        .is_none()
        .then(|| Header::Of(SocketAddr::new(client.to_canonical(), client_port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, addresses].concat()
    }

    /// What is made of `bytes`, and how many of them are left.
    async fn read(bytes: &[u8]) -> (Option<Header>, usize) {
        let mut stream = bytes;
        let header = header(&mut stream).await;
        (header, stream.len())
    }

    #[tokio::test]
    async fn good_headers_say_whose_a_connection_is_and_end_where_they_end() {
        let of = |text: &str| Some(Header::Of(text.parse().expect("an address")));
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x80, 1, 0, 80];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6[33] = 9;
        let mut mapped = v6;
        mapped[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets());
        for (bytes, expected) in [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 32769 80\r\n".to_vec(),
                of("192.0.2.7:32769"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 1 0\r\n".to_vec(),
                of("[2001:db8::7]:1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(Header::Own)),
            (
                b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
                Some(Header::Own),
            ),
            (v2(0x21, 0x11, &v4), of("192.0.2.7:32769")),
            (
                v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()),
                of("192.0.2.7:32769"),
            ),
            (v2(0x21, 0x21, &v6), of("[::1]:9")),
            (v2(0x21, 0x21, &mapped), of("192.0.2.7:9")),
            (v2(0x20, 0x00, b""), Some(Header::Own)),
            (v2(0x20, 0x11, &v4), Some(Header::Own)),
            (v2(0x21, 0x00, b"tlv"), Some(Header::Own)),
        ] {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let all = [&bytes[..], b"POST"].concat();
            assert_eq!(read(&all).await, (expected, 4), "{shown:?}");
            // And not before.
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]).await.0, None, "{shown:?} {end}");
            }
        }
    }

    #[tokio::test]
    async fn bad_headers_say_nothing() {
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
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\nmore of it\r\n",
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
            v2(0x21, 0x11, &[0; ADDRESSES + 1]),
        ] {
            assert_eq!(read(&bytes).await.0, None, "{:?}", &bytes[12..16]);
        }
    }
}
