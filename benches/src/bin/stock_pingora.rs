//! pingora's own proxy for the comparison: it forwards every delivery without verification.
//!
//! Usage: `stock_pingora LISTEN UPSTREAM [CERTIFICATE KEY]`.

use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// Forwards every request to this upstream address.
struct ForwardTo(String);

#[async_trait]
impl ProxyHttp for ForwardTo {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _: &mut Session,
        _: &mut (),
    ) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&*self.0, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, tls @ ..] = &arguments[..] else {
        return Err("expected LISTEN UPSTREAM [CERTIFICATE KEY]".into());
    };
    let conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, ForwardTo(upstream.clone()));
    match tls {
        [certificate, key] => proxy.add_tls(listen, certificate, key)?,
        _ => proxy.add_tcp(listen),
    }
    server.add_service(proxy);
    server.run_forever()
}
