//! Many tenants behind one path, with their secrets in an SQLite database. The layer looks a secret
//! up once a minute at most. Try it in this folder:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run --bin tenants -- 127.0.0.1:3000
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:3000/hooks/acme
//! ```

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::net::TcpListener;
use tower_hookgate::{BoxError, CachedSources, HookgateLayer, Secret, Source, VerifiedEvent};

/// Looks up the source of a tenant. An error makes the sender try again later.
async fn look_up(database: &SqlitePool, tenant: &str) -> Result<Option<Source>, BoxError> {
    let select = "SELECT name, secret FROM tenants WHERE name = ?";
    let found: Option<(String, String)> = sqlx::query_as(select)
        .bind(tenant)
        .fetch_optional(database)
        .await?;
    let Some((name, secret)) = found else {
        return Ok(None);
    };
    let source = Source::of_provider("stripe", Secret::new(secret)?)?;
    // The tenant is a part of the replay key: two tenants may have events with equal ids. The name
    // comes from the database, so that an event is accepted under one spelling only.
    Ok(Some(source.tenant(name).build()))
}

/// Returns the tenant that a request is for: the last part of `/hooks/{tenant}`.
fn tenant(head: &Parts) -> Option<String> {
    let tenant = head.uri.path().strip_prefix("/hooks/")?;
    Some(tenant.to_owned())
}

async fn handle(event: VerifiedEvent) -> StatusCode {
    println!("{:?}: event {:?}", event.tenant(), event.id());
    StatusCode::NO_CONTENT
}

/// Opens the file that `TENANTS` names, and adds the tenant `acme` with `STRIPE_SECRET`. Without
/// `TENANTS`, the database is in memory.
async fn open() -> Result<SqlitePool, BoxError> {
    let (options, connections) = match std::env::var_os("TENANTS") {
        Some(file) => (
            SqliteConnectOptions::new()
                .filename(file)
                .create_if_missing(true),
            4,
        ),
        // Each connection to memory has a database of its own.
        None => (SqliteConnectOptions::new().in_memory(true), 1),
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None);
    let database = pool.connect_with(options).await?;
    // A domain name is the same in upper and lower case.
    let create = "CREATE TABLE IF NOT EXISTS tenants \
        (name TEXT PRIMARY KEY COLLATE NOCASE, secret TEXT NOT NULL UNIQUE)";
    sqlx::query(create).execute(&database).await?;
    let insert = "INSERT INTO tenants VALUES ('acme', ?) ON CONFLICT DO NOTHING";
    let secret = std::env::var("STRIPE_SECRET")?;
    sqlx::query(insert).bind(secret).execute(&database).await?;
    Ok(database)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sources = CachedSources::new(open().await?, tenant, look_up)
        .ttl(Duration::from_secs(60)) // a removed secret counts for as long
        .absent_ttl(Duration::from_secs(1)) // a new tenant waits for as long
        .deadline(Duration::from_secs(2));

    let app = Router::new()
        .route("/hooks/{tenant}", post(handle))
        .route_layer(HookgateLayer::resolving(sources));

    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
