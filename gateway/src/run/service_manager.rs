//! Reports the state of the process to the service manager (`Type=notify`, sd_notify(3)).
//!
//! systemd names its socket in `NOTIFY_SOCKET`. Without this variable, nothing is sent.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long one message may take. A service manager that hangs must not stop the gateway.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// The service manager, if it asked for messages.
#[derive(Clone, Debug)]
pub(crate) struct ServiceManager(Option<Arc<UnixDatagram>>);

impl ServiceManager {
    /// Connects to the service manager that started this process.
    pub(crate) fn from_environment() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self(None);
        };
        match connect(&address) {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(?address, %error, "cannot connect to NOTIFY_SOCKET");
                Self(None)
            }
        }
    }

    /// Reports that the listeners are open. This also ends a reload.
    pub(crate) fn ready(&self, status: impl Display) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Reports that a reload begins.
    pub(crate) fn reloading(&self) {
        // systemd compares this time with that of its request (sd_notify(3)).
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reloading the configuration\n"
        ));
    }

    /// Reports that the process ends after the deliveries in flight.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Finishing the deliveries in flight\n");
    }

    fn send(&self, message: &str) {
        if let Self(Some(socket)) = self
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}

/// Connects to the socket at a path, or with an abstract name after an `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(address))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut message = [0; 512];
        let len = socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..len].to_vec()).expect("text")
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("hookgate-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        for (socket, address) in [
            (UnixDatagram::bind(&path), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&abstract_name),
                format!("@{name}").into(),
            ),
        ] {
            let socket = socket.expect("the address is free");
            let manager = ServiceManager(Some(Arc::new(connect(&address).expect("a socket"))));
            manager.ready("Serving 1 source");
            assert_eq!(received(&socket), "READY=1\nSTATUS=Serving 1 source\n");
            manager.reloading();
            let message = received(&socket);
            let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let (micros, _) = micros
                .and_then(|rest| rest.split_once('\n'))
                .expect(&message);
            assert!(micros.parse::<u64>().expect(&message) > 0);
            manager.stopping();
            assert!(received(&socket).starts_with("STOPPING=1\n"));
        }
        assert!(connect(OsStr::new("/nonexistent/notify")).is_err());
        // Without a service manager, messages go nowhere.
        ServiceManager(None).ready("");
    }
}
