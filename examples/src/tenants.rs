//! Many tenants behind one path, with their secrets in an SQLite database. The layer looks a secret
//! up once a minute at most. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin tenants -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/acme
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use rusqlite::{Connection, OptionalExtension};
use tokio::net::TcpListener;
use tower_hookgate::{BoxError, CachedSources, HookgateLayer, Secret, Source, VerifiedEvent};

/// The database of the tenants.
#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens the file that `TENANTS` names, and adds the tenant `acme` with `BEATAPI_SECRET`. Without
    /// `TENANTS`, the database is in memory.
    fn open() -> Result<Self, BoxError> {
        let path = std::env::var("TENANTS").unwrap_or_else(|_| ":memory:".to_owned());
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS tenants (name TEXT PRIMARY KEY, secret TEXT NOT NULL)",
        )?;
        let secret = std::env::var("BEATAPI_SECRET")?;
        let insert = "INSERT INTO tenants VALUES ('acme', ?1) ON CONFLICT DO NOTHING";
        connection.execute(insert, [secret])?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Returns the name and the secret of `tenant`, if the tenant exists.
    async fn tenant(&self, tenant: &str) -> Result<Option<(String, String)>, BoxError> {
        let (database, tenant) = (self.clone(), tenant.to_owned());
        // SQLite blocks the thread. A driver that is async needs no thread of its own.
        let query = tokio::task::spawn_blocking(move || {
            let connection = database.0.lock().unwrap_or_else(PoisonError::into_inner);
            let select = "SELECT name, secret FROM tenants WHERE name = ?1";
            let found =
                connection.query_row(select, [tenant], |row| Ok((row.get(0)?, row.get(1)?)));
            found.optional()
        });
        Ok(query.await??)
    }
}

/// Looks up the source of a tenant. An error makes the sender try again later.
async fn look_up(database: &Database, tenant: &str) -> Result<Option<Source>, BoxError> {
    let Some((name, secret)) = database.tenant(tenant).await? else {
        return Ok(None);
    };
    let source = Source::of_provider("beatapi", Secret::new(secret)?)?;
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

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sources = CachedSources::new(Database::open()?, tenant, look_up)
        .ttl(Duration::from_secs(60)) // a removed secret counts for as long
        .deadline(Duration::from_secs(2));

    let app = Router::new()
        .route("/hooks/{tenant}", post(handle))
        .route_layer(HookgateLayer::resolving(sources));

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
