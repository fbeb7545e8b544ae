//! Reads the files of tenants, to know which of them have equal keys.
//!
//! A tenant is served after the first complete scan. After that, the names that have changed are read
//! alone, and the scan is repeated only if changes were missed. A lookup waits until all changes
//! before it are known. The decision is therefore the same in each process and after each restart,
//! whatever the order of the requests. Only digests of the keys stay in memory.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};

use hookgate_core::Problems;
use hookgate_core::internal::{ErrorChain, Report, key_digests};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};
use tokio::sync::watch;

use super::Tenants;
use super::directory::FileError;
use super::owners::RecordedFiles;
use super::secrets::{Files, Secrets, TenantError, TenantKeys};
use crate::config::{Config, TenantSecrets};

/// The number of equal keys that one message names.
const MAX_SHARED_SHOWN: usize = 10;

/// The requests of lookups to the thread that reads the files. See [`follower`](super::follower).
#[derive(Debug)]
pub(super) struct Scan {
    requests: Mutex<Requests>,
    progress: watch::Sender<Progress>,
    /// Readable when the thread has something to do.
    wake: Arc<OwnedFd>,
}

/// The requests that the thread has not seen yet. They are numbered from 1.
#[derive(Debug)]
pub(super) struct Requests {
    /// The last request.
    pub(super) last: u64,
    /// The last request for a scan.
    pub(super) scan: u64,
    /// The tenants whose files are to be read.
    pub(super) names: BTreeSet<Box<str>>,
}

/// The progress of the thread.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// All changes before this request that were reported are known.
    followed: u64,
    /// All changes before this request are known. Zero before the first scan has ended.
    scanned: u64,
    /// Whether a scan is running. No request is followed meanwhile.
    is_scanning: bool,
}

impl Scan {
    /// Creates the requests, with one for the first scan.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let requests = Requests {
            last: 1,
            scan: 1,
            names: BTreeSet::new(),
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            requests: Mutex::new(requests),
            progress: watch::Sender::default(),
            wake: Arc::new(wake),
        })
    }

    /// Waits until the changes that were reported before are known. The caller sets a time limit.
    ///
    /// It does not wait for the end of a scan. A tenant whose keys are known is served meanwhile.
    pub(super) async fn follow(&self) {
        let number = self.request(|_, _| ());
        let is_followed = |progress: &Progress| {
            progress.scanned > 0 && (progress.followed >= number || progress.is_scanning)
        };
        self.wait_for(is_followed).await;
    }

    /// Waits until the file of a tenant is read again. The caller sets a time limit.
    pub(super) async fn read_again(&self, name: &str) {
        let number = self.ask_for(name.into());
        self.wait_for(|progress| progress.followed >= number).await;
    }

    /// Asks for another read of the files of a tenant. Returns the number of the request.
    pub(super) fn ask_for(&self, name: Box<str>) -> u64 {
        self.request(|requests, _| {
            requests.names.insert(name);
        })
    }

    /// Waits until all changes before are known, whether they were reported or not. The scan goes on
    /// without the caller, who sets a time limit.
    pub(super) async fn scan_again(&self) {
        let number = self.request(|requests, number| requests.scan = number);
        self.wait_for(|progress| progress.scanned >= number).await;
    }

    fn request(&self, change: impl FnOnce(&mut Requests, u64)) -> u64 {
        let mut requests = self.requests.lock();
        requests.last += 1;
        let number = requests.last;
        change(&mut requests, number);
        drop(requests);
        // It fails only if the thread has very many reasons to wake up already.
        let _: Result<usize, Errno> = write(&*self.wake, &1_u64.to_ne_bytes());
        number
    }

    async fn wait_for(&self, is_done: impl FnMut(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`.
        let _: Result<_, _> = progress.wait_for(is_done).await;
    }

    /// Returns the descriptor that is readable when there is a new request.
    pub(super) fn wake(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.wake)
    }

    /// Takes the requests.
    pub(super) fn take(&self) -> Requests {
        let mut count = [0; 8];
        // It fails if there is no new request.
        let _: Result<usize, Errno> = read(&*self.wake, &mut count[..]);
        let mut requests = self.requests.lock();
        Requests {
            names: mem::take(&mut requests.names),
            ..*requests
        }
    }

    /// Records that all reported changes before the request `number` are known.
    pub(super) fn followed(&self, number: u64) {
        self.progress
            .send_modify(|progress| progress.followed = number);
    }

    /// Returns the request before which all changes are known.
    pub(super) fn scanned(&self) -> u64 {
        self.progress.borrow().scanned
    }

    pub(super) fn scan_started(&self) {
        self.progress
            .send_modify(|progress| progress.is_scanning = true);
    }

    /// Records the end of a scan before which the request `number` was taken. `None` if it failed.
    pub(super) fn scan_ended(&self, number: Option<u64>) {
        self.progress.send_modify(|progress| {
            progress.is_scanning = false;
            progress.scanned = number.unwrap_or(progress.scanned);
        });
    }
}

impl Tenants {
    /// Returns all tenants that have files, and removes the others, from `unreported` too.
    ///
    /// # Errors
    ///
    /// Returns the error of a directory that cannot be read. Nothing has changed then.
    pub(super) fn list_tenants(
        &self,
        files: &Files,
        unreported: &mut BTreeSet<Box<str>>,
    ) -> Result<Vec<Box<str>>, FileError> {
        let names = files.tenants()?;
        unreported.retain(|name| names.contains(name));
        let mut owners = self.owners.lock();
        for gone in owners.retain(|name| names.contains(name)) {
            self.revoke(&gone);
        }
        Ok(names.into_iter().collect())
    }

    /// Returns the files that the keys of a tenant were recorded with.
    pub(super) fn recorded_files(&self, name: &str) -> RecordedFiles {
        self.owners.lock().files(name)
    }

    /// Records the keys of a tenant, unless its files have not changed. A file that hangs stops the
    /// caller.
    pub(super) fn scan_file(&self, files: &Files, name: &str, unreported: &mut BTreeSet<Box<str>>) {
        if let Some(read) = files.read_changed(name, self.recorded_files(name)) {
            self.record_read(name, read, unreported);
        }
    }

    /// Records the result of reading the files of a tenant.
    pub(super) fn record_read(
        &self,
        name: &str,
        read: Result<TenantKeys, TenantError>,
        unreported: &mut BTreeSet<Box<str>>,
    ) {
        let is_reported = match read {
            Ok(TenantKeys { keys, files }) if !keys.is_empty() => {
                let digests = key_digests(&self.with_keys(name, &keys), &self.salt);
                // A later scan reads a file again that can change without another version.
                let recorded = RecordedFiles {
                    version: (!files.are_recent).then(|| digest(&files.versions)),
                    are_direct: files.are_direct,
                };
                self.record_keys(name, &digests, recorded);
                // A lookup that is refused for a short time would succeed now.
                self.missing.invalidate(name);
                files.are_direct
            }
            // No delivery for the tenant verifies. A lookup logs the error.
            absent => {
                // Another tenant can have its key from now on.
                self.record_keys(name, &[], RecordedFiles::default());
                absent.is_ok_and(|TenantKeys { files, .. }| files.are_direct)
            }
        };
        match is_reported {
            true => unreported.remove(name),
            false => unreported.insert(name.into()),
        };
    }

    pub(super) fn log_shared_keys(&self) {
        for names in self.owners.lock().shared().iter().take(MAX_SHARED_SHOWN) {
            tracing::error!(
                source = self.source,
                tenants = names[..names.len().min(MAX_SHARED_SHOWN)].join(", "),
                "these tenants have the same key; their deliveries get 503; give each tenant a \
                 secret of its own"
            );
        }
    }

    pub(super) fn log_failed_watch(&self, error: Errno) {
        tracing::warn!(
            source = self.source,
            %error,
            "the directories of the tenants cannot be watched, so their files are checked by the \
             deliveries and read again by scans; check fs.inotify.max_user_instances and \
             fs.inotify.max_user_watches"
        );
    }

    pub(super) fn log_failed_scan(&self, error: &FileError) {
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

impl Files {
    /// Reads the keys of a tenant. Returns `None` if its files are still those of `recorded`.
    pub(super) fn read_changed(
        &self,
        name: &str,
        recorded: RecordedFiles,
    ) -> Option<Result<TenantKeys, TenantError>> {
        if self.is_hung(name) {
            return Some(Err(TenantError::Hung));
        }
        if let Some(version) = recorded.version
            && self.versions(name).is_ok_and(|found| {
                let is_same = digest(&found) == version;
                // A missing file that has become a link without a target has no version either.
                is_same && (!recorded.are_direct || self.missing_are_absent(name, &found))
            })
        {
            return None;
        }
        Some(self.read(name))
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
        if let TenantSecrets::Resolver(_) = tenants.secrets {
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
        let Secrets::Files(files) = &tenants.secrets else {
            continue;
        };
        let mut unreported = BTreeSet::new();
        match tenants.list_tenants(files, &mut unreported) {
            Ok(names) => {
                let names = names.iter();
                names.for_each(|name| tenants.scan_file(files, name, &mut unreported));
            }
            Err(error) => {
                report.add(&at, ErrorChain(&error).to_string());
                continue;
            }
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
