use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates, Value,
};
use tokio::time::timeout;

use super::check;
use super::config::RedisConfig;
use super::url::{Host, Topology};
use crate::store::StoreError;

/// A connection to a server, or the connections to a cluster. Cheap to clone;
/// commands of the clones travel side by side.
#[derive(Clone)]
pub(super) enum Wire {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// For one server. A stopped one accepts connections and says nothing.
const CONNECT: Duration = Duration::from_secs(1);

/// Commands under way on a connection before others wait for a place.
const PIPELINE: usize = 1024;

impl Wire {
    /// Connects, and refuses a server that would forget claims.
    pub(super) async fn open(config: &RedisConfig) -> Result<Self, StoreError> {
        if config.target.tls {
            // The library takes the process's provider. One that is set stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if let Topology::Cluster(hosts) = &config.target.topology {
            let wire = Self::Cluster(cluster(config, hosts).await?);
            check::every_master(&wire).await?;
            return Ok(wire);
        }
        let mut last = StoreError::new("no server is known");
        for client in servers(config).await? {
            match Self::to(&client).await {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn to(client: &Client) -> Result<Self, StoreError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        let address = client.get_connection_info().addr().to_string();
        let connect = client.get_multiplexed_async_connection_with_config(&settings);
        let wire = match timeout(CONNECT, connect).await {
            Ok(Ok(connection)) => Self::Node(connection),
            Ok(Err(error)) => return Err(cannot_connect(&address, error)),
            Err(_) => return Err(cannot_connect(&address, "no answer within 1 s")),
        };
        match timeout(CONNECT, check::node(&wire, &address)).await {
            Ok(checked) => checked.map(|()| wire),
            Err(_) => Err(cannot_connect(&address, "no answer within 1 s")),
        }
    }

    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// A connection that is told of settlements.
pub(super) async fn listen(config: &RedisConfig) -> Result<PubSub, StoreError> {
    let mut last = StoreError::new("no server is known");
    // Every node of a cluster hears what is published at any.
    for client in servers(config).await? {
        let connect = async {
            let mut connection = client.get_async_pubsub().await?;
            connection.subscribe(config.channel()).await?;
            RedisResult::Ok(connection)
        };
        match timeout(CONNECT, connect).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = StoreError::new(error),
            Err(_) => last = StoreError::new("no answer within 1 s"),
        }
    }
    Err(last)
}

/// Those to try, in this order.
async fn servers(config: &RedisConfig) -> Result<Vec<Client>, StoreError> {
    match &config.target.topology {
        Topology::Node(host) => Ok(vec![client(config, tcp(config, host))?]),
        Topology::Unix(path) => Ok(vec![client(config, ConnectionAddr::Unix(path.clone()))?]),
        Topology::Sentinel { hosts, master } => {
            let master = master_of(config, hosts, master).await?;
            Ok(vec![client(config, tcp(config, &master))?])
        }
        Topology::Cluster(hosts) => hosts
            .iter()
            .map(|host| client(config, tcp(config, host)))
            .collect(),
    }
}

/// Asks the sentinels in turn; the first that knows the master is believed.
/// That it is one, the check of the server says.
async fn master_of(
    config: &RedisConfig,
    sentinels: &[Host],
    name: &str,
) -> Result<Host, StoreError> {
    let mut last = format!("no sentinel knows the master {name}");
    for sentinel in sentinels {
        // The credentials are those of the servers.
        let info = info(tcp(config, sentinel), RedisConnectionInfo::default())?;
        let client = with_tls(config, info)?;
        let question = async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut command = ::redis::cmd("SENTINEL");
            command.arg("get-master-addr-by-name").arg(name);
            command
                .query_async::<Option<(String, u16)>>(&mut connection)
                .await
        };
        match timeout(CONNECT / 2, question).await {
            Ok(Ok(Some((name, port)))) => return Ok(Host { name, port }),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = format!("sentinel {sentinel}: {error}"),
            Err(_) => last = format!("sentinel {sentinel}: no answer within 500 ms"),
        }
    }
    Err(StoreError::new(last))
}

async fn cluster(config: &RedisConfig, hosts: &[Host]) -> Result<ClusterConnection, StoreError> {
    let seeds = hosts.iter().map(|host| {
        let addr = tcp(config, host);
        info(addr, credentials(config))
    });
    let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
    let mut builder = ClusterClient::builder(seeds)
        .connection_timeout(CONNECT)
        .response_timeout(config.timeout)
        .overall_response_timeout(Some(config.timeout))
        .retries(3)
        .min_retry_wait(10)
        .max_retry_wait(100)
        .tcp_settings(TcpSettings::default().set_nodelay(true));
    if let Some(certificates) = certificates(config) {
        builder = builder.certs(certificates);
    }
    let client = builder.build().map_err(StoreError::new)?;
    match timeout(3 * CONNECT, client.get_async_connection()).await {
        Ok(connection) => connection.map_err(|e| cannot_connect(&config.target.to_string(), e)),
        Err(_) => Err(cannot_connect(
            &config.target.to_string(),
            "no answer within 3 s",
        )),
    }
}

fn client(config: &RedisConfig, address: ConnectionAddr) -> Result<Client, StoreError> {
    let settings = credentials(config).set_db(config.target.database);
    with_tls(config, info(address, settings)?)
}

fn with_tls(config: &RedisConfig, info: ConnectionInfo) -> Result<Client, StoreError> {
    match certificates(config) {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
    .map_err(StoreError::new)
}

fn certificates(config: &RedisConfig) -> Option<TlsCertificates> {
    let ca = config.ca_pem.clone().filter(|_| config.target.tls)?;
    Some(TlsCertificates {
        client_tls: None,
        root_cert: Some(ca),
    })
}

fn info(
    address: ConnectionAddr,
    settings: RedisConnectionInfo,
) -> Result<ConnectionInfo, StoreError> {
    let info = address.into_connection_info().map_err(StoreError::new)?;
    // A claim is one small packet; without this it waits for the one before.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(info.set_tcp_settings(tcp).set_redis_settings(settings))
}

fn credentials(config: &RedisConfig) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default();
    if let Some(username) = &config.target.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &config.target.password {
        settings = settings.set_password(password);
    }
    settings
}

fn tcp(config: &RedisConfig, host: &Host) -> ConnectionAddr {
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

fn cannot_connect(address: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::new(format!("cannot connect to {address}: {why}"))
}
