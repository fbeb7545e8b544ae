//! The configuration file as `check` and `run` read it.

mod check;
mod errors;
mod include;
mod sockets_and_routes;
mod summary;

use std::process::Command;

use hookgate_tests::binary;

/// Runs `hookgate COMMAND` on the configuration `text`. Returns the exit code and the output.
pub(super) fn run_on(command: &str, text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the file is written");
    let output = Command::new(binary())
        .args([command, "-c", file.to_str().expect("the bytes are UTF-8")])
        .env("GOOD", "whsec_5f0c8a6de2b94a13")
        .env("WEAK", "short")
        .env("QUOTED", "\"whsec_5f0c8a6de2b94a13\"")
        .env("EMPTY", "")
        .env("PLACEHOLDER", "${SECRET}")
        .env("PUBLISHED", "whsec_test")
        .env("NOT_BASE64", "whsec_!!!")
        .output()
        .expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("the bytes are UTF-8"),
    )
}

/// A valid configuration.
pub(super) const VALID: &str = r#"
[server]
listen = ["127.0.0.1:0"]

[upstreams.app]
servers = ["127.0.0.1:3000"]

[[sources]]
name = "beatapi"
path = "/hooks/beatapi"
provider = "beatapi"
secrets = ["env:GOOD"]
upstream = "app"
"#;
