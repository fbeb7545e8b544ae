//! Faults of the disk store: nothing is forwarded without a stored claim, and senders get 503 so
//! that they retry. Faults of Redis are tested in `replicas`.

use std::collections::BTreeSet;

use hookgate_tests::{Gateway, TestProvider, Upstream, send};
use http::StatusCode;

#[tokio::test]
async fn a_full_disk_forwards_nothing_and_forgets_nothing() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = folder.path().display().to_string();
    // Writes beyond this limit fail, as they do on a full disk.
    let gateway = Gateway::builder(upstream.address())
        .shell_prefix("trap '' XFSZ; ulimit -f 400")
        .replay(&format!("store = \"disk\"\npath = {path:?}"))
        .start();
    let mut delivered = BTreeSet::new();
    let mut refused = 0;
    for number in 0..2_000 {
        let id = format!("evt_{number}");
        let response = send(gateway.address(), provider.delivery(&id)).await;
        match response.status {
            StatusCode::NO_CONTENT => {
                delivered.insert(id);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(response.headers.contains_key("retry-after"));
                refused += 1;
            }
            other => panic!("{id}: {other}"),
        }
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20, "the disk should be full");
    assert!(delivered.len() > 10, "{}", delivered.len());
    // Every forwarded event was claimed. Some may not be committed; those are not forwarded again
    // while their lease runs.
    let arrived: BTreeSet<String> = upstream
        .take_received()
        .iter()
        .map(|arrival| {
            arrival.headers["hookgate-event-id"]
                .to_str()
                .expect("the bytes are UTF-8")
                .to_owned()
        })
        .collect();
    assert_eq!(arrived, delivered);
    let log = gateway.log();
    assert!(log.contains("claim failed"), "{log}");
    assert!(log.contains("the replay store did not answer"), "{log}");
    // The senders are not to blame, so no line says "refused".
    let lines = gateway.wait_for_access_log(delivered.len() + refused).await;
    let failed = lines.iter().filter(|line| line["outcome"] == "failed");
    assert!(failed.clone().all(|line| line["reason"] == "store_down"));
    assert_eq!(failed.count(), refused);
    drop(gateway);

    // With free space, new events are forwarded, and no event is forwarded twice.
    let gateway = Gateway::builder(upstream.address())
        .replay(&format!("store = \"disk\"\npath = {path:?}"))
        .start();
    let again = send(gateway.address(), provider.delivery("evt_0")).await;
    assert_eq!(again.outcome(), Some("duplicate"));
    // The last claim could not be committed, and its lease still runs.
    for id in &delivered {
        let again = send(gateway.address(), provider.delivery(id)).await;
        assert!(
            matches!(again.outcome(), Some("duplicate" | "busy")),
            "{id}"
        );
    }
    let new = send(gateway.address(), provider.delivery("evt_new")).await;
    assert_eq!(new.status, StatusCode::NO_CONTENT);
    assert_eq!(upstream.take_received().len(), 1);
}

#[tokio::test]
async fn a_gateway_whose_store_cannot_be_opened_does_not_start() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("replay.db");
    std::fs::write(&file, "not a store ".repeat(200)).expect("the file is written");
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\n[replay]\nstore = \"disk\"\n\
         path = {:?}\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n[[sources]]\nname = \"a\"\n\
         path = \"/a\"\nprovider = \"beatapi\"\nsecrets = [\"env:SECRET\"]\nupstream = \"app\"\n",
        folder.path().display().to_string()
    );
    let config_file = folder.path().join("gateway.toml");
    std::fs::write(&config_file, config).expect("the file is written");
    let output = std::process::Command::new(hookgate_tests::binary())
        .args(["run", "--config"])
        .arg(&config_file)
        .env("SECRET", "whsec_c2NoZW1lLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODk=")
        .output()
        .expect("the command runs");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not a file of hookgate's"), "{stderr}");
    assert!(stderr.contains("replay.db"), "{stderr}");
}
