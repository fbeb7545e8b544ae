//! Checks that a server keeps claims: its version, its role and its eviction policy.

use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use ::redis::{InfoDict, RedisError, Value};

use super::connection::Connection;
use super::error::ConnectError;

/// The oldest version that runs a settlement when its memory is full. Redis 7.0 introduced
/// script flags, including `allow-oom`.
const MIN_VERSION: (u32, u32) = (7, 0);

/// Returns an error if the server would lose or refuse claims.
pub(super) async fn check_node(connection: &Connection, address: &str) -> Result<(), ConnectError> {
    let mut connection = connection.clone();
    // An ACL may allow the user either INFO or CONFIG GET, and one of them is enough.
    let info = connection.query(&::redis::cmd("INFO")).await;
    let info = info.ok().and_then(text).unwrap_or_default();
    let info = InfoDict::new(&info);
    let policy = match info.get("maxmemory_policy") {
        Some(policy) => Ok(policy),
        None => {
            let mut command = ::redis::cmd("CONFIG");
            command.arg("GET").arg("maxmemory-policy");
            let reply = connection.query(&command).await;
            reply.map_err(Some).and_then(|reply| {
                ::redis::from_redis_value(reply)
                    .map(|(_, policy): (String, String)| policy)
                    .map_err(|error| Some(error.into()))
            })
        }
    };
    check_info(&info, policy, address)
}

/// Returns an error if a master of the cluster would lose or refuse claims.
pub(super) async fn check_masters(cluster: &ClusterConnection) -> Result<(), ConnectError> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let mut cluster = cluster.clone();
    let replies = cluster
        .route_command(::redis::cmd("INFO"), masters)
        .await
        .map_err(ConnectError::Client)?;
    let Value::Map(replies) = replies else {
        return Err(ConnectError::Unsuitable {
            address: "the cluster".to_owned(),
            problem: "its masters do not answer INFO; allow the user INFO (`+info`)".to_owned(),
            source: None,
        });
    };
    for (address, info) in replies {
        let address = text(address).unwrap_or_default();
        let info = InfoDict::new(&text(info).unwrap_or_default());
        let policy = info.get("maxmemory_policy").ok_or(None);
        check_info(&info, policy, &address)?;
    }
    Ok(())
}

/// Checks what INFO says. `policy` is the eviction policy, or why it cannot be read.
pub(super) fn check_info(
    info: &InfoDict,
    policy: Result<String, Option<RedisError>>,
    address: &str,
) -> Result<(), ConnectError> {
    let unsuitable = |problem: String| ConnectError::Unsuitable {
        address: address.to_owned(),
        problem,
        source: None,
    };
    // Valkey reports the Redis version that it is compatible with, and its own version beside it.
    let version = info.get::<String>("valkey_version");
    let version = version.or_else(|| info.get("redis_version"));
    if let Some(version) = version.filter(|version| is_too_old(version)) {
        return Err(unsuitable(format!(
            "it is version {version}; expected Redis 7.0, Valkey 7.2 or newer"
        )));
    }
    if let Some(role) = info.get::<String>("role").filter(|role| role != "master") {
        return Err(unsuitable(format!(
            "its role is {role}; expected the master, because replicas accept no claims"
        )));
    }
    if info
        .get::<String>("loading")
        .is_some_and(|loading| loading != "0")
    {
        return Err(unsuitable("it is loading its data".to_owned()));
    }
    match policy {
        Ok(policy) if policy == "noeviction" => Ok(()),
        Ok(policy) => Err(unsuitable(format!(
            "its maxmemory-policy is {policy}, which evicts claims when memory is full, so that \
             replays pass; set `maxmemory-policy noeviction`"
        ))),
        Err(source) => Err(ConnectError::Unsuitable {
            address: address.to_owned(),
            problem: "its maxmemory-policy cannot be read; allow the user INFO (`+info`) or \
                      CONFIG GET (`+config|get`)"
                .to_owned(),
            source,
        }),
    }
}

fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let version = (parts.next(), parts.next());
    matches!(version, (Some(major), Some(minor)) if (major, minor) < MIN_VERSION)
}

fn text(value: Value) -> Option<String> {
    ::redis::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(info: &str) -> String {
        let info = InfoDict::new(&info.replace(' ', "\r\n"));
        let policy = info.get("maxmemory_policy").ok_or(None);
        match check_info(&info, policy, "cache:6379") {
            Ok(()) => "suitable".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_server_that_would_lose_or_refuse_claims_is_not_used() {
        for (info, expected) in [
            (
                "redis_version:7.0.15 role:master loading:0 maxmemory_policy:noeviction",
                "suitable",
            ),
            ("redis_version:10.2 maxmemory_policy:noeviction", "suitable"),
            (
                "redis_version:7.2.4 valkey_version:8.1.0 maxmemory_policy:noeviction",
                "suitable",
            ),
            (
                "redis_version:6.2.14 maxmemory_policy:noeviction",
                "expected Redis 7.0",
            ),
            (
                "role:slave maxmemory_policy:noeviction",
                "expected the master",
            ),
            ("loading:1 maxmemory_policy:noeviction", "loading"),
            (
                "maxmemory_policy:volatile-ttl",
                "set `maxmemory-policy noeviction`",
            ),
            ("redis_version:7.0.0", "`+info`"),
        ] {
            let result = check(info);
            assert!(result.contains(expected), "{info}: {result}");
        }
    }
}
