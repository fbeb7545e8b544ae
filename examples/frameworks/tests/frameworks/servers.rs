//! Sends deliveries to the program of each framework, through the server of the framework.

use std::process::Command;

use bytes::Bytes;
use http::{Method, Request};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::support::{PAID, Program, delivery, signed};

const SERVERS: [&str; 4] = [
    env!("CARGO_BIN_EXE_actix"),
    env!("CARGO_BIN_EXE_poem"),
    env!("CARGO_BIN_EXE_salvo"),
    env!("CARGO_BIN_EXE_warp"),
];

#[test]
fn a_genuine_delivery_is_handled_once_and_a_forged_one_never() {
    for server in SERVERS {
        let program = Program::start(server);
        let delivery = delivery(PAID);
        for (request, expected) in [
            (delivery.forged(), (401, Some("refused"))),
            (delivery.late(), (401, Some("refused"))),
            (delivery.genuine(), (204, None)),
            (delivery.genuine(), (200, Some("duplicate"))),
        ] {
            assert_eq!(program.send(&request).parts(), expected, "{server}");
        }
    }
}

/// The handlers respond with 501 to this type, and with 400 or 500 to an event without a type.
#[test]
fn the_retry_of_a_failed_event_is_handled() {
    for server in SERVERS {
        let program = Program::start(server);
        for body in [
            r#"{"id":"evt_2","type":"invoice.voided"}"#,
            r#"{"id":"evt_3"}"#,
        ] {
            let delivery = delivery(body);
            for _ in 0..2 {
                let answer = program.send(&delivery.genuine());
                assert!(
                    answer.status >= 400 && answer.outcome.is_none(),
                    "{server} {answer:?}"
                );
            }
        }
    }
}

/// The default limit of salvo is 64 KB, below that of the source.
#[test]
fn only_the_limit_of_the_source_counts() {
    let padded = |len: usize| format!("{PAID}{}", " ".repeat(len));
    for server in SERVERS {
        let program = Program::start(server);
        let answer = program.send(&delivery(padded(1_000_000)).genuine());
        assert_eq!(answer.status, 204, "{server}");
        let answer = program.send(&delivery(padded(1_100_000)).genuine());
        assert_eq!(answer.status, 413, "{server}");
    }
}

#[test]
fn other_methods_and_paths_reach_no_handler() {
    for server in SERVERS {
        let program = Program::start(server);
        let mut request: Request<Bytes> = delivery(PAID).genuine();
        *request.method_mut() = Method::GET;
        // The response is that of the layer, so handshakes reach it too.
        let expected = (405, Some("refused"));
        assert_eq!(program.send(&request).parts(), expected, "{server}");
        let request = delivery(PAID).path("/hooks/other").genuine();
        assert_eq!(program.send(&request).status, 404, "{server}");
    }
}

#[tokio::test]
async fn tenants_are_found_in_the_database_under_one_spelling() {
    const OTHER_SECRET: &str = "whsec_94a135f0c8a6de2b";
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("tenants.db");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenants"));
    let program = Program::spawn(command.arg("127.0.0.1:0").env("TENANTS", &file));

    let database = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file));
    let database = database.await.expect("the program has created the file");
    let insert = sqlx::query("INSERT INTO tenants VALUES ('umbrella', ?)").bind(OTHER_SECRET);
    insert.execute(&database).await.expect("the tenant is new");

    let acme = |path: &str| delivery(PAID).path(path);
    let umbrella = |path: &str| signed(OTHER_SECRET, PAID).path(path);
    for (request, expected) in [
        (acme("/hooks/acme").forged(), 401),
        (acme("/hooks/acme").genuine(), 204),
        (acme("/hooks/acme").genuine(), 200),
        // The database ignores case, and the event is accepted under one spelling only.
        (acme("/hooks/ACME").genuine(), 200),
        // Another tenant has the same id.
        (acme("/hooks/umbrella").genuine(), 401),
        (umbrella("/hooks/umbrella").genuine(), 204),
        (acme("/hooks/initech").genuine(), 404),
    ] {
        assert_eq!(program.send(&request).status, expected, "{}", request.uri());
    }

    // An error of the database is no absence.
    sqlx::query("DROP TABLE tenants")
        .execute(&database)
        .await
        .expect("the table exists");
    assert_eq!(program.send(&acme("/hooks/hooli").genuine()).status, 503);
}
