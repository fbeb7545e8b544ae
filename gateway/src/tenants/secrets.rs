//! The secrets of one tenant, from files or from a resolver.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{BuildError, Key, Secret, SecretError};
use hookgate_gate::{Clock as _, SystemClock};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::directory::{FileError, TenantDirectory};
use super::directory_watch::ChangedName;
use super::lookup_limit::LookupFor;
use super::open_reads::OpenReads;
use super::resolver::{ResolveError, Resolver};
use crate::config::{
    FileVersion, TENANT, TenantFile, TenantSecrets, is_tenant_name, trim_line_end, with_tenant,
};

/// The number of threads that read files at the same time.
pub(super) const MAX_READS: usize = 32;

/// Where the secrets of the tenants of a source are.
#[derive(Debug)]
pub(super) enum Secrets {
    Files(Arc<Files>),
    Resolver(Box<Resolver>),
}

/// The directories with the files of all tenants.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<(TenantDirectory, TenantFile)>,
    pub(super) reads: Arc<Semaphore>,
    /// The reads of lookups.
    pub(super) looked_up: Arc<OpenReads>,
    /// The reads that the follower of changes has abandoned, because they hang.
    pub(super) abandoned: Arc<OpenReads>,
}

/// The keys of a tenant, which has none if its files do not exist, and the versions of its files.
pub(super) struct TenantKeys {
    pub(super) keys: Vec<Key>,
    pub(super) files: TenantFiles,
}

/// The files of a tenant, as they were read. There are none with a resolver.
#[derive(Debug, Default)]
pub(super) struct TenantFiles {
    pub(super) versions: Box<[Option<FileVersion>]>,
    /// Whether each change of the files is a change in their directories.
    pub(super) are_direct: bool,
    /// Whether the files can change again without another version.
    pub(super) are_recent: bool,
}

/// Why the secrets of a tenant cannot be used.
#[derive(Debug)]
pub(super) enum TenantError {
    File(FileError),
    Resolver(ResolveError),
    Secret(SecretError),
    Build(BuildError),
    /// Another tenant has the same key.
    SharedKey(Arc<str>),
    /// The files have not been read in time.
    NotScanned,
    /// The files of the tenant change all the time.
    Changing,
    /// An earlier read of the files has not ended.
    Hung,
    /// The process ends.
    Ending,
}

impl Secrets {
    /// # Errors
    ///
    /// Returns the error of the client of the resolver.
    pub(super) fn new(config: &TenantSecrets) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(match config {
            TenantSecrets::Files(files) => {
                let files = files.iter().cloned();
                let files = files.map(|file| (TenantDirectory::new(file.directory.clone()), file));
                Self::Files(Arc::new(Files {
                    files: files.collect(),
                    reads: Arc::new(Semaphore::new(MAX_READS)),
                    looked_up: Arc::default(),
                    abandoned: Arc::default(),
                }))
            }
            TenantSecrets::Resolver(config) => Self::Resolver(Box::new(Resolver::new(config)?)),
        })
    }

    /// Reads the keys of `tenant`. Returns `None` if there is no such tenant.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError`] if the keys cannot be had now.
    pub(super) async fn read(
        &self,
        tenant: &str,
        lookup: LookupFor,
    ) -> Result<Option<TenantKeys>, TenantError> {
        match self {
            Self::Files(files) => {
                let read = files.in_thread(tenant, Files::read).await??;
                Ok((!read.keys.is_empty()).then_some(read))
            }
            Self::Resolver(resolver) => {
                let secrets = resolver.resolve(tenant, lookup).await;
                let secrets = secrets.map_err(TenantError::Resolver)?;
                Ok(secrets.map(|secrets| TenantKeys {
                    keys: secrets.into_iter().map(Key::new).collect(),
                    files: TenantFiles::default(),
                }))
            }
        }
    }
}

/// Reads the keys of `tenant` for a command. Returns `None` if there is no such tenant.
///
/// # Errors
///
/// Returns the error of the client of the resolver, or the reason why the keys cannot be had.
pub(crate) fn read_keys(
    config: &TenantSecrets,
    tenant: &str,
) -> Result<Option<Vec<Key>>, Box<dyn Error + Send + Sync>> {
    if !is_tenant_name(tenant) {
        return Ok(None);
    }
    let secrets = Secrets::new(config)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(secrets.read(tenant, LookupFor::Known));
    Ok(read?.map(|found| found.keys))
}

impl Files {
    /// Runs `call` for `tenant` in a thread that may wait for a disk or a network. A thread that waits
    /// forever keeps its share of [`MAX_READS`], and each tenant has one thread at most.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError::Hung`] if an earlier call for the tenant has not ended, and
    /// [`TenantError::Ending`] if the process ends.
    pub(super) async fn in_thread<T: Send + 'static>(
        self: &Arc<Self>,
        tenant: &str,
        call: impl FnOnce(&Self, &str) -> T + Send + 'static,
    ) -> Result<T, TenantError> {
        if self.abandoned.is_open(tenant) || self.looked_up.is_open(tenant) {
            return Err(TenantError::Hung);
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let read = self.looked_up.start(tenant, Instant::now());
        let read = read.ok_or(TenantError::Hung)?;
        let (files, tenant) = (Arc::clone(self), tenant.to_owned());
        let done = spawn_blocking(move || {
            let _ends_with_the_call = (read, permit);
            call(&files, &tenant)
        });
        // The process ends if a thread does not run, or panics.
        done.await.map_err(|_ending| TenantError::Ending)
    }

    /// Returns whether an earlier read of the files of `tenant` hangs.
    pub(super) fn is_hung(&self, tenant: &str) -> bool {
        self.abandoned.is_open(tenant) || self.looked_up.is_hung(tenant)
    }

    /// Makes pipes hang when they are read.
    #[cfg(test)]
    pub(super) fn wait_for_pipes(&mut self) {
        let files = self.files.iter_mut();
        files.for_each(|(directory, _)| directory.wait_for_pipes());
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &TenantDirectory> + Clone {
        self.files.iter().map(|(directory, _)| directory)
    }

    /// Returns the names of the tenants that have files.
    ///
    /// # Errors
    ///
    /// Returns the error of a directory that cannot be read.
    pub(super) fn tenants(&self) -> Result<BTreeSet<Box<str>>, FileError> {
        let mut tenants = BTreeSet::new();
        for (position, (directory, _)) in self.files.iter().enumerate() {
            for name in directory.names()? {
                tenants.extend(self.tenant_of(position, &name).map(Box::from));
            }
        }
        Ok(tenants)
    }

    /// Returns the tenants that `changed` names belong to.
    pub(super) fn tenants_of(&self, changed: &BTreeSet<ChangedName>) -> BTreeSet<Box<str>> {
        let changed = changed.iter();
        let tenants = changed.filter_map(|(position, name)| self.tenant_of(*position, name));
        tenants.map(Box::from).collect()
    }

    /// Returns the tenant that the name in the directory at `position` belongs to.
    fn tenant_of<'n>(&self, position: usize, name: &'n str) -> Option<&'n str> {
        let (_, file) = self.files.get(position)?;
        // The segment with the variable is the first one.
        let segment = file.name.split('/').next().unwrap_or_default();
        let (before, after) = segment.split_once(TENANT)?;
        let tenant = name.strip_prefix(before)?.strip_suffix(after)?;
        is_tenant_name(tenant).then_some(tenant)
    }

    /// Returns the paths of the files of `tenant`, for messages.
    pub(super) fn paths(&self, tenant: &str) -> Vec<PathBuf> {
        let files = self.files.iter();
        files
            .map(|(directory, file)| directory.path().join(with_tenant(&file.name, tenant)))
            .filter(|path| path.exists())
            .collect()
    }

    /// Returns the versions of the files of `tenant`.
    ///
    /// # Errors
    ///
    /// Returns the error of a file that cannot be opened.
    pub(super) fn versions(&self, tenant: &str) -> Result<Box<[Option<FileVersion>]>, FileError> {
        let files = self.files.iter();
        files
            .map(|(directory, file)| directory.version(&with_tenant(&file.name, tenant)))
            .collect()
    }

    /// Returns whether the creation of each file of `tenant` without a version is a change in its
    /// directory.
    pub(super) fn missing_are_absent(
        &self,
        tenant: &str,
        versions: &[Option<FileVersion>],
    ) -> bool {
        let mut files = self.files.iter().zip(versions);
        files.all(|((directory, file), version)| {
            version.is_some() || directory.is_absent(&with_tenant(&file.name, tenant))
        })
    }

    /// Reads the keys of `tenant`.
    ///
    /// # Errors
    ///
    /// Returns [`TenantError`] if a file exists and cannot be used.
    pub(super) fn read(&self, tenant: &str) -> Result<TenantKeys, TenantError> {
        let mut keys = Vec::with_capacity(self.files.len());
        let mut versions = Vec::with_capacity(self.files.len());
        let (mut are_direct, mut are_recent) = (true, false);
        let now = SystemClock.now().secs();
        for (position, (directory, file)) in (1..).zip(&self.files) {
            let name = with_tenant(&file.name, tenant);
            let secret = directory.read(&name);
            let secret = secret.map_err(TenantError::File)?;
            versions.push(secret.as_ref().map(|secret| secret.version));
            if let Some(mut secret) = secret {
                are_direct &= secret.is_direct;
                are_recent |= secret.version.is_recent(now);
                trim_line_end(&mut secret.text);
                let secret = Secret::new(secret.text).map_err(TenantError::Secret)?;
                // The position of the file is the id, whether the files before it exist or not.
                keys.push(file.key.with_secret(secret).id(file.key.id_at(position)));
            } else {
                are_direct &= directory.is_absent(&name);
            }
        }
        let files = TenantFiles {
            versions: versions.into(),
            are_direct,
            are_recent,
        };
        Ok(TenantKeys { keys, files })
    }
}

impl fmt::Display for TenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Resolver(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
            // It names the position of the secret, whose cause the chain has.
            Self::Build(error) => write!(f, "{}", ErrorChain(error)),
            Self::SharedKey(other) => write!(
                f,
                "tenant {other} has the same key, so a delivery to one of them would verify for \
                 the other; give each tenant a secret of its own"
            ),
            Self::NotScanned => f.write_str(
                "the files of the tenants have not been read in time, so the tenant may share its \
                 key with another one",
            ),
            Self::Changing => f.write_str("the secret changes while it is read"),
            Self::Hung => f.write_str(
                "reading the files of the tenant does not end; check the disk or the network file \
                 system that they are on",
            ),
            Self::Ending => f.write_str("the process ends"),
        }
    }
}

impl Error for TenantError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Resolver(error) => error.source(),
            Self::Secret(_)
            | Self::Build(_)
            | Self::SharedKey(_)
            | Self::NotScanned
            | Self::Changing
            | Self::Hung
            | Self::Ending => None,
        }
    }
}
