//! Opens connections: to one server, through sentinels, or to a cluster.

use std::time::Duration;

use ::redis::aio::PubSub;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates,
};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::connection::Connection;
use super::error::ConnectError;
use super::server_check;
use super::url::{Host, Topology};

/// The limit for a connection to one server. A suspended server accepts connections and does
/// not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(500);

/// The number of commands in flight on a connection. Further commands wait.
const PIPELINE_SIZE: usize = 1024;

/// Connects, and checks that the server would neither lose nor refuse claims.
pub(super) async fn connect(config: &RedisConfig) -> Result<Connection, ConnectError> {
    if config.target.tls {
        // The client library uses the default provider of the process. An error means that
        // the application has already installed one, which then stays in use.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    if let Topology::Cluster(hosts) = &config.target.topology {
        let cluster = connect_to_cluster(config, hosts).await?;
        server_check::check_masters(&cluster).await?;
        return Ok(Connection::Cluster(cluster));
    }
    let mut last_error = ConnectError::NoServer;
    for client in clients(config).await? {
        match connect_to_node(&client).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Opens a connection that receives the settlements of other processes.
pub(super) async fn subscribe(config: &RedisConfig) -> Result<PubSub, ConnectError> {
    let mut last_error = ConnectError::NoServer;
    // Every node of a cluster receives the messages that are published at any node.
    for client in clients(config).await? {
        let address = address_of(&client);
        let subscribe = async {
            let mut connection = client.get_async_pubsub().await?;
            connection.subscribe(config.channel()).await?;
            RedisResult::Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, subscribe).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(source)) => last_error = ConnectError::Failed { address, source },
            Err(_elapsed) => last_error = timed_out(address, CONNECT_TIMEOUT),
        }
    }
    Err(last_error)
}

async fn connect_to_node(client: &Client) -> Result<Connection, ConnectError> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_SIZE);
    let address = address_of(client);
    let connect = client.get_multiplexed_async_connection_with_config(&settings);
    let connection = match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(Ok(connection)) => Connection::Node(connection),
        Ok(Err(source)) => return Err(ConnectError::Failed { address, source }),
        Err(_elapsed) => return Err(timed_out(address, CONNECT_TIMEOUT)),
    };
    let check = server_check::check_node(&connection, &address);
    match timeout(CONNECT_TIMEOUT, check).await {
        Ok(checked) => checked.map(|()| connection),
        Err(_elapsed) => Err(timed_out(address, CONNECT_TIMEOUT)),
    }
}

async fn connect_to_cluster(
    config: &RedisConfig,
    hosts: &[Host],
) -> Result<ClusterConnection, ConnectError> {
    let seeds = hosts
        .iter()
        .map(|host| connection_info(host_address(config, host), login(config)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = ClusterClient::builder(seeds)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(config.timeout)
        .overall_response_timeout(Some(config.timeout))
        .retries(3)
        .min_retry_wait(10)
        .max_retry_wait(100)
        .tcp_settings(TcpSettings::default().set_nodelay(true));
    if let Some(certificates) = certificates(config) {
        builder = builder.certs(certificates);
    }
    let client = builder.build().map_err(ConnectError::Client)?;
    let address = config.target.to_string();
    match timeout(CLUSTER_CONNECT_TIMEOUT, client.get_async_connection()).await {
        Ok(connected) => connected.map_err(|source| ConnectError::Failed { address, source }),
        Err(_elapsed) => Err(timed_out(address, CLUSTER_CONNECT_TIMEOUT)),
    }
}

/// Returns a client for each server to try, in this order.
async fn clients(config: &RedisConfig) -> Result<Vec<Client>, ConnectError> {
    match &config.target.topology {
        Topology::Node(host) => Ok(vec![client(config, host_address(config, host))?]),
        Topology::Unix(path) => Ok(vec![client(config, ConnectionAddr::Unix(path.clone()))?]),
        Topology::Sentinel { hosts, master } => {
            let master = find_master(config, hosts, master).await?;
            Ok(vec![client(config, host_address(config, &master))?])
        }
        Topology::Cluster(hosts) => hosts
            .iter()
            .map(|host| client(config, host_address(config, host)))
            .collect(),
    }
}

/// Asks the sentinels in turn and returns the first answer. The server check then verifies
/// that this server is a master.
async fn find_master(
    config: &RedisConfig,
    sentinels: &[Host],
    name: &str,
) -> Result<Host, ConnectError> {
    let mut last_error = ConnectError::UnknownMaster {
        name: name.to_owned(),
    };
    for sentinel in sentinels {
        // The credentials in the URL are for the servers, not for the sentinels.
        let address = host_address(config, sentinel);
        let info = connection_info(address, RedisConnectionInfo::default())?;
        let client = client_with_tls(config, info)?;
        let query = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut command = ::redis::cmd("SENTINEL");
            command.arg("get-master-addr-by-name").arg(name);
            command
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await
        };
        let address = sentinel.to_string();
        match timeout(SENTINEL_TIMEOUT, query).await {
            Ok(Ok(Some((name, port)))) => return Ok(Host { name, port }),
            Ok(Ok(None)) => {}
            Ok(Err(source)) => last_error = ConnectError::Sentinel { address, source },
            Err(_elapsed) => {
                last_error = ConnectError::SentinelTimeout {
                    address,
                    timeout: SENTINEL_TIMEOUT,
                }
            }
        }
    }
    Err(last_error)
}

fn client(config: &RedisConfig, address: ConnectionAddr) -> Result<Client, ConnectError> {
    let login = login(config).set_db(config.target.database);
    client_with_tls(config, connection_info(address, login)?)
}

fn client_with_tls(config: &RedisConfig, info: ConnectionInfo) -> Result<Client, ConnectError> {
    match certificates(config) {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
    .map_err(ConnectError::Client)
}

fn certificates(config: &RedisConfig) -> Option<TlsCertificates> {
    let ca = config.ca_pem.clone().filter(|_| config.target.tls)?;
    Some(TlsCertificates {
        client_tls: None,
        root_cert: Some(ca),
    })
}

fn connection_info(
    address: ConnectionAddr,
    login: RedisConnectionInfo,
) -> Result<ConnectionInfo, ConnectError> {
    let info = address
        .into_connection_info()
        .map_err(ConnectError::Client)?;
    // Nagle's algorithm would delay a claim, which is one small packet.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp).set_redis_settings(login))
}

fn login(config: &RedisConfig) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = &config.target.username {
        login = login.set_username(username);
    }
    if let Some(password) = &config.target.password {
        login = login.set_password(password);
    }
    login
}

fn host_address(config: &RedisConfig, host: &Host) -> ConnectionAddr {
    match config.target.tls {
        true => ConnectionAddr::TcpTls {
            host: host.name.clone(),
            port: host.port,
            insecure: false,
            tls_params: None,
        },
        false => ConnectionAddr::Tcp(host.name.clone(), host.port),
    }
}

fn address_of(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

fn timed_out(address: String, timeout: Duration) -> ConnectError {
    ConnectError::Timeout { address, timeout }
}
