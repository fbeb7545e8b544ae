use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use ::redis::{InfoDict, RedisResult, Value};

use super::wire::Wire;
use crate::store::StoreError;

/// The oldest server that runs a settlement when its memory is full: script
/// flags, `allow-oom` among them, came with it.
const OLDEST: (u32, u32) = (7, 0);

/// Refuses a server that cannot keep claims.
pub(super) async fn node(wire: &Wire, address: &str) -> Result<(), StoreError> {
    let mut wire = wire.clone();
    let info: RedisResult<Value> = wire.ask(&::redis::cmd("INFO")).await;
    // Users may be forbidden the one and allowed the other.
    let info = info.ok().and_then(text).unwrap_or_default();
    let info = InfoDict::new(&info);
    let policy = match info.get::<String>("maxmemory_policy") {
        Some(policy) => Some(policy),
        None => {
            let mut command = ::redis::cmd("CONFIG");
            command.arg("GET").arg("maxmemory-policy");
            let answer = wire.ask(&command).await.ok();
            answer.and_then(|pair| {
                let pair: Option<(String, String)> = ::redis::from_redis_value(pair).ok();
                pair.map(|(_, policy)| policy)
            })
        }
    };
    verdict(&info, policy.as_deref(), address)
}

/// Likewise every master of a cluster.
pub(super) async fn every_master(wire: &Wire) -> Result<(), StoreError> {
    let Wire::Cluster(cluster) = wire else {
        return Ok(());
    };
    let to = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let mut cluster = cluster.clone();
    let answers = cluster.route_command(::redis::cmd("INFO"), to).await;
    let answers = answers.map_err(StoreError::new)?;
    let Value::Map(answers) = answers else {
        return Err(StoreError::new(
            "the masters of the cluster do not tell INFO",
        ));
    };
    for (address, info) in answers {
        let address = text(address).unwrap_or_default();
        let info = InfoDict::new(&text(info).unwrap_or_default());
        let policy = info.get::<String>("maxmemory_policy");
        verdict(&info, policy.as_deref(), &address)?;
    }
    Ok(())
}

fn verdict(info: &InfoDict, policy: Option<&str>, address: &str) -> Result<(), StoreError> {
    let refused = |why: String| Err(StoreError::new(format!("{address} is not used: {why}")));
    // Valkey counts on from the Redis that it began as, under a name of its own.
    let version = info.get::<String>("valkey_version");
    let version = version.or_else(|| info.get("redis_version"));
    if let Some(version) = version.filter(|version| older(version)) {
        return refused(format!(
            "it is version {version}; expected Redis 7.0, Valkey 7.2 or newer"
        ));
    }
    match info.get::<String>("role").as_deref() {
        None | Some("master") => {}
        Some(role) => {
            return refused(format!(
                "its role is {role}; expected the master, as replicas take no claims"
            ));
        }
    }
    if info.get::<String>("loading").is_some_and(|l| l != "0") {
        return refused("it is loading its data".to_owned());
    }
    match policy {
        Some("noeviction") => Ok(()),
        Some(policy) => refused(format!(
            "its maxmemory-policy is {policy}, which forgets claims when memory is full, so \
             that replays pass; set `maxmemory-policy noeviction`"
        )),
        None => refused(
            "its maxmemory-policy cannot be read; allow the user INFO (`+info`) or \
             CONFIG GET (`+config|get`)"
                .to_owned(),
        ),
    }
}

fn older(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let version = (parts.next(), parts.next());
    matches!(version, (Some(major), Some(minor)) if (major, minor) < OLDEST)
}

fn text(value: Value) -> Option<String> {
    ::redis::from_redis_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_on(info: &str) -> String {
        let info = InfoDict::new(&info.replace(' ', "\r\n"));
        let policy = info.get::<String>("maxmemory_policy");
        match verdict(&info, policy.as_deref(), "cache:6379") {
            Ok(()) => "used".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_server_that_would_forget_or_refuse_claims_is_not_used() {
        for (info, says) in [
            (
                "redis_version:7.0.15 role:master loading:0 maxmemory_policy:noeviction",
                "used",
            ),
            ("redis_version:10.2 maxmemory_policy:noeviction", "used"),
            (
                "redis_version:7.2.4 valkey_version:8.1.0 maxmemory_policy:noeviction",
                "used",
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
            assert!(
                verdict_on(info).contains(says),
                "{info}: {}",
                verdict_on(info)
            );
        }
    }
}
