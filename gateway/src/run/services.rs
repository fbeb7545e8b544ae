//! The services of the process: binds their sockets, and serves them until shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};

use crate::admin::Admin;
use crate::config::{Config, ShutdownConfig, TlsListener, TransportAddress};
use crate::gateway::Gateway;
use crate::listener::{
    BoundService, InheritedSocket, Listener, ListenerKind, ListeningSockets, ProxyProtocolPeers,
    SocketOpener, UnixService, bind,
};
use crate::queue::QueueService;
use crate::run::reload::ReloadHandle;
use crate::run::service_manager::ServiceManager;
use crate::run::shutdown::{Shutdown, ShutdownSignals, UnixSignals};

/// The addresses to listen on, and how to accept connections there.
pub(crate) struct ListenAddresses {
    plaintext: Vec<TransportAddress>,
    h2c: bool,
    tls: Vec<TlsListener>,
    proxy_protocol: Option<ProxyProtocolPeers>,
    admin: SocketAddr,
}

impl ListenAddresses {
    pub(crate) fn from_config(config: &Config) -> Self {
        Self {
            plaintext: config.listen.clone(),
            h2c: config.h2c,
            tls: config.tls.clone(),
            proxy_protocol: ProxyProtocolPeers::new(&config.proxy_protocol),
            admin: config.admin,
        }
    }

    /// Checks that a listener has the address of each socket that the service manager opened.
    ///
    /// # Errors
    ///
    /// Returns an error for another address. No connection to that socket would ever be accepted.
    pub(crate) fn check_activated(&self, sockets: &[InheritedSocket]) -> io::Result<()> {
        let tls = self.tls.iter().map(|tls| tls.listen);
        let tcp = tls.chain([self.admin]).map(TransportAddress::Tcp);
        let known: Vec<_> = tcp.chain(self.plaintext.iter().cloned()).collect();
        for InheritedSocket { address, .. } in sockets {
            if !known.contains(address) {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                return Err(io::Error::other(format!(
                    "the service manager opened a socket for {address}, and no listener of \
                     [server] has this address; expected one of {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }
}

/// The services of the process, with their sockets bound.
pub(crate) struct Services {
    deliveries: Vec<BoundService<Listener>>,
    unix_deliveries: UnixService<Listener>,
    admin: BoundService<Admin>,
    sockets: ListeningSockets,
    shutdown_signals: ShutdownSignals,
}

impl Services {
    /// Binds the sockets of every service, or uses the inherited ones.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, with the address, if an address cannot be bound.
    pub(crate) fn bind(
        addresses: ListenAddresses,
        gateway: &Arc<Gateway>,
        inherited: Vec<InheritedSocket>,
        reloads: ReloadHandle,
    ) -> io::Result<Self> {
        let mut opener = SocketOpener::new(inherited);
        let listener = |kind| Listener {
            gateway: Arc::clone(gateway),
            proxy_protocol: addresses.proxy_protocol.clone(),
            kind,
        };
        let plaintext = || listener(ListenerKind::Plaintext { h2c: addresses.h2c });
        let (mut tcp, mut unix) = (Vec::new(), Vec::new());
        for address in &addresses.plaintext {
            match address {
                TransportAddress::Tcp(address) => tcp.push(*address),
                TransportAddress::Unix(path) => unix.push(path),
            }
        }
        let mut deliveries = vec![bind(
            "deliveries",
            tcp,
            plaintext(),
            L4BufferSettings::unbuffered(),
            &mut opener,
        )?];
        let unix_deliveries = UnixService::bind(
            "deliveries_unix",
            unix.into_iter(),
            plaintext(),
            &mut opener,
        )?;
        for tls in addresses.tls {
            deliveries.push(bind(
                "deliveries_tls",
                [tls.listen],
                listener(ListenerKind::Tls(tls.tls)),
                // The TLS layer reads in pieces that are smaller than the available data, so these
                // connections keep the read buffer.
                L4BufferSettings::default().write(0),
                &mut opener,
            )?);
        }
        let admin = bind(
            "admin",
            [addresses.admin],
            Admin::new(Arc::clone(gateway), reloads),
            L4BufferSettings::unbuffered(),
            &mut opener,
        )?;
        Ok(Self {
            sockets: opener.finish(),
            deliveries,
            unix_deliveries,
            admin,
            shutdown_signals: ShutdownSignals::new(),
        })
    }

    /// Takes over the files of inherited Unix sockets from the process before an upgrade.
    pub(crate) fn take_over_files(&self) {
        self.sockets.take_over_files();
    }

    /// Logs the bound addresses of all services.
    pub(crate) fn log_addresses(&self) {
        for service in &self.deliveries {
            service.log_addresses();
        }
        self.unix_deliveries.log_addresses();
        self.admin.log_addresses();
    }

    /// Serves until the shutdown is complete.
    pub(crate) fn serve(
        self,
        unix_signals: UnixSignals,
        gateway: &Arc<Gateway>,
        queue: Option<Arc<QueueService>>,
        shutdown: ShutdownConfig,
        manager: ServiceManager,
    ) {
        let signals = self.shutdown_signals;
        let mut server = Server::new_with_opt_and_conf(
            None,
            ServerConf {
                threads: std::thread::available_parallelism().map_or(1, usize::from),
                // `Shutdown` has drained the gateway before pingora starts to shut down.
                grace_period_seconds: Some(0),
                graceful_shutdown_timeout_seconds: Some(1),
                ..ServerConf::default()
            },
        );
        server.bootstrap();
        for service in self.deliveries {
            server.add_service(service.with_shutdown(signals.for_deliveries()));
        }
        let stop = signals.for_deliveries();
        server.add_service(self.unix_deliveries.with_shutdown(stop));
        server.add_service(self.admin.with_shutdown(signals.for_admin()));
        server.run(RunArgs {
            shutdown_signal: Box::new(Shutdown::new(
                unix_signals,
                Arc::clone(gateway),
                queue,
                shutdown,
                signals,
                self.sockets,
                manager,
            )),
        });
    }
}
