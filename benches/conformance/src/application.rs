//! The application behind every receiver: it runs events, and counts the runs of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
pub(crate) struct Event {
    id: String,
    r#type: String,
}

/// The number of runs of each event.
#[derive(Clone, Default)]
pub(crate) struct Application(Arc<Mutex<HashMap<String, u64>>>);

impl Application {
    /// Runs `event`. The first run of an event that must fail once is a failure.
    pub(crate) fn run(&self, event: Event) -> StatusCode {
        let mut runs = self.0.lock().expect("no run panics");
        let count = runs.entry(event.id).or_default();
        *count += 1;
        match *count == 1 && event.r#type == "conform.fail_once" {
            true => StatusCode::INTERNAL_SERVER_ERROR,
            false => StatusCode::NO_CONTENT,
        }
    }

    fn runs(&self, id: &str) -> u64 {
        let runs = self.0.lock().expect("no run panics");
        runs.get(id).copied().unwrap_or_default()
    }

    /// Serves `receiver`, and the number of runs at `/runs/ID`. Prints the address.
    pub(crate) async fn serve(self, receiver: Router) -> Result<(), BoxError> {
        let runs =
            get(async |State(app): State<Self>, Path(id): Path<String>| app.runs(&id).to_string());
        let app = receiver.route("/runs/{id}", runs.with_state(self));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        axum::serve(listener, app).await?;
        Ok(())
    }
}
