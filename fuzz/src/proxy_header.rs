//! Fuzz target: any bytes as a header of the PROXY protocol.
//!
//! The gateway has no library for other crates, so this file includes the module of its parser.

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncReadExt;

#[path = "../../gateway/src/listener/proxy_header.rs"]
mod parser;

use self::parser::{ProxyHeader, read_header};
use super::http1::{Pieces, ready, split_size};

/// Reads `data`, after a byte for the size of the pieces, as a header.
///
/// The result does not depend on the pieces, and no byte after the header is read. A client that
/// was read, written in either version and read again is the same. A header of version 1 that is
/// accepted is the only one for its client, apart from the destination.
pub fn proxy_header(data: &[u8]) {
    let Some((size, wire)) = split_size(data) else {
        return;
    };
    let read = read(wire, wire.len().max(1));
    assert_eq!(read, self::read(wire, size));
    let Some((header, rest)) = read else {
        return;
    };
    assert!(wire.ends_with(&rest));
    let ProxyHeader::Client(client) = header else {
        return;
    };
    assert_eq!(client.ip(), client.ip().to_canonical());
    for written in [version_1(client), version_2(client)] {
        let again = [&written[..], b"next"].concat();
        assert_eq!(self::read(&again, size), Some((header, b"next".to_vec())));
    }
    if wire.starts_with(b"PROXY") {
        let line = std::str::from_utf8(&wire[..wire.len() - rest.len()]).unwrap();
        let words: Vec<_> = line.strip_suffix("\r\n").unwrap().split(' ').collect();
        assert_eq!(words.len(), 6);
        assert_eq!(
            words[2].parse::<IpAddr>().unwrap().to_canonical(),
            client.ip()
        );
        assert_eq!(words[4], client.port().to_string());
    }
}

/// Returns the header and the bytes after it.
fn read(wire: &[u8], size: usize) -> Option<(ProxyHeader, Vec<u8>)> {
    let mut stream = Pieces::new(wire, size);
    let header = ready(read_header(&mut stream)).ok()?;
    let mut rest = Vec::new();
    ready(stream.read_to_end(&mut rest)).unwrap();
    Some((header, rest))
}

fn version_1(client: SocketAddr) -> Vec<u8> {
    let (family, destination) = match client.is_ipv4() {
        true => ("TCP4", "10.0.0.1"),
        false => ("TCP6", "::1"),
    };
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY {family} {ip} {destination} {port} 443\r\n").into_bytes()
}

fn version_2(client: SocketAddr) -> Vec<u8> {
    let (family, ip) = match client.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let ports = [client.port().to_be_bytes(), 443_u16.to_be_bytes()].concat();
    let addresses = [&ip[..], &vec![1; ip.len()], &ports].concat();
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[0x21, family][..],
        &len,
        &addresses,
    ]
    .concat()
}
