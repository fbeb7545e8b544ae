use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hookgate_core::document::Section;

use super::stop;
use crate::config::Stop;
use crate::config::values::Address;

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Where the gateway listens: for deliveries, and for its operators.
pub(super) fn read(root: &Section<'_>) -> (Vec<SocketAddr>, SocketAddr, Stop) {
    let Some(server) = root.required_section("server") else {
        let stop = Stop {
            drain_delay: Duration::ZERO,
            upgrade_socket: None,
        };
        return (Vec::new(), DEFAULT_ADMIN, stop);
    };
    let listen: Vec<SocketAddr> = server
        .required_list::<Address>("listen")
        .into_iter()
        .map(|address| address.0)
        .collect();
    let admin = server
        .optional::<Address>("admin")
        .map_or(DEFAULT_ADMIN, |address| address.0);
    let stop = stop::read(&server);
    server.deny_unknown();
    let mut taken = vec![admin];
    for address in &listen {
        // Port 0 is a free one each time.
        if address.port() != 0 && taken.contains(address) {
            server.wrong(
                "listen",
                format!("{address} is there twice (or is `admin`)"),
            );
        }
        taken.push(*address);
    }
    (listen, admin, stop)
}
