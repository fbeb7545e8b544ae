//! Stores on bad days: nothing is forwarded without a claim that is written, and
//! senders are told to try again.

use std::collections::BTreeSet;

use hookgate_tests::{Gateway, TestProvider, Upstream, send};
use http::StatusCode;

#[tokio::test]
async fn a_full_disk_forwards_nothing_and_forgets_nothing() {
    let provider = TestProvider::named("beatapi");
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let path = folder.path().display().to_string();
    // A write beyond this is an error, as it is on a disk that is full.
    let gateway = Gateway::builder(upstream.address())
        .shell_prefix("trap '' XFSZ; ulimit -f 400")
        .replay(&format!("store = \"disk\"\npath = {path:?}"))
        .start();
    let mut delivered = BTreeSet::new();
    let mut refused = 0;
    for number in 0..2_000 {
        let id = format!("evt_{number}");
        let reply = send(gateway.address(), provider.delivery(&id)).await;
        match reply.status {
            StatusCode::NO_CONTENT => {
                delivered.insert(id);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(reply.headers.contains_key("retry-after"));
                refused += 1;
            }
            other => panic!("{id}: {other}"),
        }
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20, "the disk is full by now");
    assert!(delivered.len() > 10, "{}", delivered.len());
    // What was forwarded had been claimed. It may not have been committed: then it
    // is not forwarded again while its lease runs.
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
    drop(gateway);

    // With room again, everything goes on, and nothing comes twice.
    let gateway = Gateway::builder(upstream.address())
        .replay(&format!("store = \"disk\"\npath = {path:?}"))
        .start();
    let again = send(gateway.address(), provider.delivery("evt_0")).await;
    assert_eq!(again.outcome(), Some("duplicate"));
    // The last that was claimed there was no room to commit: its lease still runs.
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
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not a file of hookgate's"), "{said}");
    assert!(said.contains("replay.db"), "{said}");
}
