//! Reads the files of all tenants, to know which of them have equal keys.
//!
//! A tenant is served after the first complete scan. A key that the scan has not seen counts only
//! after another scan, which reads the files that have changed. The decision is therefore the same
//! in each process and after each restart, whatever the order of the requests. Only digests of the
//! keys stay in memory.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::io;
use std::sync::{Arc, LazyLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use hookgate_core::Problems;
use hookgate_core::internal::{ErrorChain, Report, key_digests};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout};

use super::Tenants;
use super::directory::FileError;
use super::directory_watch::Watcher;
use super::secrets::{Files, Secrets, TenantError, TenantKeys};
use crate::config::{Config, TenantSecrets};

/// How long a delivery waits for the first scan, before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The pause before a scan that has failed is repeated.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than a scan the pause after it is. Secrets that change all the time cause scans
/// for a tenth of the time.
const PAUSE_FACTOR: u32 = 9;
/// The number of equal keys that one message names.
const MAX_SHARED_SHOWN: usize = 10;

/// The scans of the files of all tenants.
#[derive(Debug)]
pub(super) struct Scan {
    /// Held during each scan, so that it never records an older secret over a newer one. The value
    /// is the end of the pause after the last scan.
    turn: Mutex<Option<Instant>>,
    /// When the last complete scan began.
    complete: watch::Sender<Option<Instant>>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            turn: Mutex::new(None),
            complete: watch::Sender::new(None),
        }
    }
}

/// Starts a thread that scans the files, and then watches their directories until the tenants are
/// dropped.
///
/// # Errors
///
/// Returns the error of the system if the thread cannot be started.
pub(super) fn spawn(tenants: &Arc<Tenants>) -> io::Result<()> {
    let tenants = Arc::downgrade(tenants);
    let thread = thread::Builder::new().name("hookgate-tenants".to_owned());
    let run = move || {
        scan_first(&tenants);
        let mut watcher = Watcher::default();
        while let Some(tenants) = tenants.upgrade() {
            if let Secrets::Files(files) = &tenants.secrets {
                watcher.look(files.directories(), &tenants.watch);
            }
            drop(tenants);
            watcher.wait();
        }
    };
    thread.spawn(run).map(drop)
}

fn scan_first(tenants: &Weak<Tenants>) {
    while let Some(tenants) = tenants.upgrade() {
        let turn = tenants.scan.turn.blocking_lock();
        let scanned = tenants.scan_files();
        drop(turn);
        match scanned {
            Ok(()) => return tenants.log_shared_keys(),
            Err(error) => tenants.log_failed_scan(&error),
        }
        drop(tenants);
        thread::sleep(RETRY_PAUSE);
    }
}

impl Tenants {
    /// Waits for the first scan.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError::NotScanned`] if it takes too long.
    pub(super) async fn first_scan(&self) -> Result<(), TenantError> {
        let mut complete = self.scan.complete.subscribe();
        let complete = timeout(MAX_WAIT, complete.wait_for(Option::is_some)).await;
        match complete {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TenantError::NotScanned),
        }
    }

    /// Scans the files again, or waits for another scan that begins from now on.
    ///
    /// # Errors
    ///
    /// Returns the error of a directory that cannot be read.
    pub(super) async fn scan_again(self: &Arc<Self>) -> Result<(), TenantError> {
        let asked = Instant::now();
        let mut turn = self.scan.turn.lock().await;
        if *self.scan.complete.borrow() >= Some(asked) {
            return Ok(());
        }
        if let Some(end) = *turn {
            sleep_until(end.into()).await;
        }
        let tenants = Arc::clone(self);
        let started = Instant::now();
        let scanned = spawn_blocking(move || tenants.scan_files()).await;
        *turn = Some(Instant::now() + PAUSE_FACTOR * started.elapsed());
        // The process ends if a thread does not run, or panics.
        let scanned = scanned.map_err(|_ending| TenantError::Ending)?;
        scanned.map_err(TenantError::File)
    }

    /// Scans the files of one tenant again.
    pub(super) async fn scan_file_of(self: &Arc<Self>, name: &Arc<str>) -> Result<(), TenantError> {
        let _turn = self.scan.turn.lock().await;
        let (tenants, name) = (Arc::clone(self), Arc::clone(name));
        let scanned = spawn_blocking(move || {
            if let Secrets::Files(files) = &tenants.secrets {
                tenants.scan_file(files, &name);
            }
        });
        scanned.await.map_err(|_ending| TenantError::Ending)
    }

    /// Records the keys of all tenants. Files that have not changed are not read again.
    ///
    /// # Errors
    ///
    /// Returns the error of a directory that cannot be read. Nothing has changed then.
    fn scan_files(&self) -> Result<(), FileError> {
        let Secrets::Files(files) = &self.secrets else {
            return Ok(());
        };
        let started = Instant::now();
        let names = files.tenants()?;
        {
            let mut owners = self.owners.lock();
            for gone in owners.retain(|name| names.contains(name)) {
                self.revoke(&gone);
            }
        }
        for name in &names {
            self.scan_file(files, name);
        }
        self.scan.complete.send_replace(Some(started));
        Ok(())
    }

    fn scan_file(&self, files: &Files, name: &str) {
        let known = self.owners.lock().version(name);
        if let Some(known) = known
            && files
                .versions(name)
                .is_ok_and(|found| digest(&found) == known)
        {
            return;
        }
        match files.read(name) {
            Ok(Some(TenantKeys { keys, files })) => {
                let digests = key_digests(&self.with_keys(name, keys), &self.salt);
                // The next scan reads a file again that can change without another version.
                let version = (!files.are_recent).then(|| digest(&files.versions));
                self.record_keys(name, &digests, version);
            }
            // No delivery for the tenant verifies. A lookup logs the error.
            Ok(None) | Err(_) => {
                let mut owners = self.owners.lock();
                owners.remove(name);
                // Another tenant can have its key from now on.
                self.revoke(name);
            }
        }
    }

    fn log_shared_keys(&self) {
        for names in self.owners.lock().shared().iter().take(MAX_SHARED_SHOWN) {
            tracing::error!(
                source = self.source,
                tenants = names[..names.len().min(MAX_SHARED_SHOWN)].join(", "),
                "these tenants have the same key; their deliveries get 503; give each tenant a \
                 secret of its own"
            );
        }
    }

    fn log_failed_scan(&self, error: &FileError) {
        if let Some(suppressed) = self.failures.line() {
            tracing::error!(
                source = self.source,
                error = %ErrorChain(error),
                suppressed,
                "the files of the tenants cannot be read, and are tried again; deliveries get 503"
            );
        }
    }
}

/// Returns a digest of the versions of files, which takes less memory than they do.
fn digest(versions: &impl Hash) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    STATE.hash_one(versions)
}

/// Reports the tenants of `config` with equal keys, with their files.
///
/// # Errors
///
/// Returns a problem for each equal key, or the problem of a directory that cannot be read.
pub(crate) fn report_equal_keys(config: &Config) -> Result<(), Problems> {
    let report = Report::default();
    for route in &config.routes {
        let Some(tenants) = &route.tenants else {
            continue;
        };
        if !matches!(tenants.secrets, TenantSecrets::Files(_)) {
            continue;
        }
        let source = route.source.name();
        let at = format!("source {source}: secrets");
        let tenants = match Tenants::new(source, tenants.clone()) {
            Ok(tenants) => tenants,
            Err(error) => {
                report.add(&at, ErrorChain(&*error).to_string());
                continue;
            }
        };
        if let Err(error) = tenants.scan_files() {
            report.add(&at, ErrorChain(&error).to_string());
            continue;
        }
        let shared = tenants.owners.lock().shared();
        for names in shared.iter().take(MAX_SHARED_SHOWN) {
            report.add(&at, tenants.describe_shared(names));
        }
        if let Some(more) = shared.len().checked_sub(MAX_SHARED_SHOWN + 1) {
            report.add(&at, format!("{} more keys have several tenants", more + 1));
        }
    }
    report.finish(Some(()))
}

impl Tenants {
    fn describe_shared(&self, names: &[Arc<str>]) -> String {
        let Secrets::Files(files) = &self.secrets else {
            return String::new();
        };
        let paths = names.iter().take(MAX_SHARED_SHOWN);
        let paths = paths.flat_map(|name| files.paths(name));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        format!(
            "{} tenants have the same key, so a delivery to one of them would verify for the \
             others, and the gateway refuses them with 503; give each tenant a secret of its own, \
             and keep copies of a file outside of its directory: {}",
            names.len(),
            paths.join(", ")
        )
    }
}
