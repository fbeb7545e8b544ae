//! Records the commit that a release is built from, for `hookgate --version`.
//!
//! `HOOKGATE_COMMIT` names the commit where the sources have no repository, as in a package or an
//! image. A debug build has no commit: each commit would compile the crate again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HOOKGATE_COMMIT");
    let given = env::var("HOOKGATE_COMMIT").ok();
    let given = given.filter(|commit| {
        !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match given {
        None if is_release => of_repository(),
        given => given,
    };
    let commit = commit.as_deref().unwrap_or(UNKNOWN);
    println!("cargo::rustc-env=HOOKGATE_BUILT_COMMIT={commit}");
}

/// Returns the commit of the repository that contains this package, if this package is in its folder `gateway`.
fn of_repository() -> Option<String> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let root = fs::canonicalize(package.parent()?).ok()?;
    // The sources may lie in a folder of another repository.
    let top = fs::canonicalize(git(&root, &["rev-parse", "--show-toplevel"])?).ok()?;
    if top != root {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&root, &["rev-parse", "--git-path", file])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&root, &["rev-parse", "--short=12", "HEAD"])
}

/// Runs git in `folder`, and returns the line that it prints. `None` without git or a repository.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let line = line.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
