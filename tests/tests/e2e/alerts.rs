//! The alerts, tested by `promtool test rules`. `make promtool` installs the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::documents::read;

const TESTS: [&str; 2] = ["alerts.test.yml", "alerts-days.test.yml"];

/// Returns the program of `make promtool`, or the one in the path.
fn promtool() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/promtool/promtool");
    match installed.exists() {
        true => installed,
        false => "promtool".into(),
    }
}

/// Tests `alerts` in place of the committed rules.
fn test_rules(alerts: &str) -> Output {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("the file is written");
    };
    write("alerts.yml", alerts);
    for name in TESTS {
        write(name, &read(&format!("deploy/prometheus/{name}")));
    }
    Command::new(promtool())
        .args(["test", "rules"])
        .args(TESTS)
        .current_dir(folder.path())
        .output()
        .expect("promtool is missing: run `make promtool`")
}

#[test]
fn alerts_stay_on_while_the_fault_lasts() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let output = test_rules(&alerts);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");

    // The controls: rules that clear themselves, or that match no usual scrape job, are noticed.
    for (rule, wrong) in [
        (
            "hookgate_config_last_reload_success == 0",
            "increase(hookgate_config_reloads_total{result=\"failure\"}[15m]) > 0",
        ),
        (
            "or (up == 0 and on (job, instance) last_over_time(hookgate_build_info[7d]))",
            "",
        ),
    ] {
        assert!(alerts.contains(rule), "{rule}");
        let output = test_rules(&alerts.replace(rule, wrong));
        assert!(!output.status.success(), "{wrong}");
    }
}
