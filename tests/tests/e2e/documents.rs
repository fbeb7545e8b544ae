//! Documentation and deployment files: their commands run, and the metrics, alerts, and settings
//! they name exist. A test of a new documented file belongs here.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use hookgate_test_servers::process::free_port;
use hookgate_tests::{binary, replace_tokens};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::observability::{KEY_METRICS, METRICS, QUEUE_METRICS, TENANT_METRIC, TLS_METRIC};

const ALERTS: &str = "deploy/prometheus/alerts.yml";

pub(crate) fn read(name: &str) -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the code blocks of a document that are marked as `language`.
pub(crate) fn blocks(text: &str, language: &str) -> String {
    let mut blocks = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line == format!("```{language}") {
            inside = true;
        } else if line == "```" {
            inside = false;
        } else if inside {
            blocks.push_str(line);
            blocks.push('\n');
        }
    }
    blocks
}

/// Asserts that the Makefile has the build command of `page`. The build itself would take
/// minutes here.
fn assert_build_command(page: &str) {
    let build = blocks(page, "sh build");
    let makefile = read("Makefile").replace("$(CARGO)", "cargo");
    let command = build.lines().next().expect("the page has a build command");
    assert!(makefile.contains(command), "{command}");
}

/// Returns `script` with free ports in place of the written ones.
pub(crate) fn with_free_ports(script: &str) -> String {
    let ports = ["3000", "8080", "9090"].map(|written| (written, free_port().to_string()));
    replace_tokens(script, &ports)
}

/// Runs `script` in `folder`, with `hookgate` in the path and free ports in place of the
/// written ones. Returns the standard output.
fn run_script(script: &str, folder: &Path) -> String {
    let bin = tempfile::tempdir().expect("the temporary folder is created");
    std::os::unix::fs::symlink(binary(), bin.path().join("hookgate")).expect("the link is created");
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
    let script = with_free_ports(&script);
    let path = std::env::var("PATH").expect("PATH is set");
    let output = Command::new("timeout")
        .args(["600", "bash", "-euxo", "pipefail", "-c", &script])
        .env("PATH", format!("{}:{path}", bin.path().display()))
        .current_dir(folder)
        .output()
        .expect("`bash` is installed");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// Returns the commands of the first steps in the README.
pub(crate) fn readme_script() -> String {
    let page = read("README.md");
    let (gateway, _) = page
        .split_once("## The layer")
        .expect("the page has a section for the gateway");
    format!(
        "cat > gateway.toml <<'END'\n[server]\nadmin = \"127.0.0.1:9090\"\n{}END\n{}",
        blocks(gateway, "toml").replace("[server]\n", ""),
        blocks(gateway, "sh"),
    )
}

/// Returns the commands of the operators' page, with `site` as their directory.
pub(crate) fn operators_script(site: &str) -> String {
    blocks(&read("docs/operating.md"), "sh")
        // The last block removes the directory; its files are read before that.
        .replace("cd / && rm", "cp arrived.log .. && cd / && rm")
        .replace("/tmp/hookgate-first", site)
}

#[test]
fn the_first_steps_of_the_readme_work() {
    let page = read("README.md");
    assert_build_command(&page);
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let output = run_script(&readme_script(), folder.path());
    assert!(
        output.ends_with("204 No Content\n200 OK (duplicate)\n401\n"),
        "{output}"
    );
    assert!(page.contains("204 No Content\n200 OK (duplicate)\n401\n"));
}

#[test]
fn the_first_steps_of_the_operators_page_work() {
    let page = read("docs/operating.md");
    assert_build_command(&page);
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let site = folder.path().join("first").display().to_string();
    run_script(&operators_script(&site), folder.path());
    assert!(!Path::new(&site).exists());
    let arrived = std::fs::read_to_string(folder.path().join("arrived.log"));
    let arrived = arrived.expect("the upstream wrote a log");
    let events: Vec<&str> = arrived
        .lines()
        .filter_map(|l| l.split(' ').next())
        .collect();
    let expected = [
        "evt_1",
        "evt_first",
        "evt_second",
        "evt_3",
        "evt_3",
        "evt_3",
        "evt_3",
    ];
    assert_eq!(events, expected);
}

#[test]
fn the_commands_of_the_page_about_mismatches_work() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let output = run_script(&blocks(&read("docs/mismatch.md"), "sh"), folder.path());
    for expected in ["body_json_rewritten", "proved", "provider = \"beatapi\""] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
}

#[test]
fn the_commands_of_the_page_about_the_inspector_work() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let script = blocks(&read("docs/inspector.md"), "sh");
    let search = r#"
        until curl -fsS -H "Authorization: Bearer $(cat ops-token)" \
          "http://127.0.0.1:9090/api/deliveries?reason=signature_missing" | grep /hooks/beatapi
        do sleep 0.1; done
        curl -fsS http://127.0.0.1:9090/
    "#;
    let output = run_script(&format!("{script}{search}"), folder.path());
    for expected in ["\"outcome\":\"refused\"", "Sign in to the inspector"] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
}

#[test]
fn the_commands_of_the_page_about_the_queue_work() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let output = run_script(&blocks(&read("docs/queue.md"), "sh"), folder.path());
    for expected in [
        "200 OK (queued)",
        "200 OK (duplicate)",
        "waiting",
        "no delivery is left",
        "arrived: {\"id\": \"evt_1\"}",
    ] {
        assert!(output.contains(expected), "{expected}: {output}");
    }
}

#[test]
fn the_commands_of_the_page_about_conformance_work() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let output = run_script(&blocks(&read("docs/conformance.md"), "sh"), folder.path());
    let expected = " 0 fail, 0 unseen, 1 not applicable\n";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn the_page_about_mismatches_has_every_code() {
    let page = read("docs/mismatch.md");
    for code in hookgate_diagnose::Code::ALL {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}

/// Returns the metric names in `text`, without the suffixes of Prometheus histograms.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_part = |byte: char| byte.is_ascii_lowercase() || byte == '_';
    text.split(|byte| !is_part(byte))
        .filter(|word| word.starts_with("hookgate_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| word.strip_suffix(end))
                .unwrap_or(word)
        })
        .collect()
}

#[test]
fn alerts_dashboard_and_documentation_name_only_existing_metrics() {
    let others = KEY_METRICS.into_iter().chain(QUEUE_METRICS);
    let others = others.chain([TENANT_METRIC, TLS_METRIC]);
    let known: BTreeSet<&str> = METRICS.into_iter().chain(others).collect();
    for (name, complete) in [
        (ALERTS, false),
        ("deploy/grafana/hookgate.json", true),
        ("docs/operating.md", true),
        ("docs/runbook.md", false),
    ] {
        let text = read(name);
        let used = metrics_in(&text);
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{name} has {unknown:?}");
        let missing: Vec<_> = known.difference(&used).collect();
        assert!(!complete || missing.is_empty(), "{name} lacks {missing:?}");
    }
    // The control: an unknown name is found.
    assert_eq!(
        metrics_in("rate(hookgate_verify_seconds_bucket[5m]) hookgate_nothing"),
        ["hookgate_nothing", "hookgate_verify_seconds"].into()
    );
}

/// A renamed file must not leave the page wrong.
#[test]
fn every_file_that_the_architecture_names_exists() {
    let page = read("ARCHITECTURE.md");
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let code_spans = page.split('`').skip(1).step_by(2);
    let paths: BTreeSet<&str> = code_spans
        .filter(|code| code.contains('/') && !code.starts_with('/') && !code.contains("NAME"))
        .filter(|code| !code.contains(char::is_whitespace))
        .collect();
    let missing: Vec<_> = paths
        .iter()
        .filter(|path| !root.join(path).exists())
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names {missing:?}");
    // A control: paths are found, and a file that is missing would be noticed.
    assert!(paths.len() > 50, "{paths:?}");
    assert!(!root.join("crates/core/src/no_such_file.rs").exists());
}

#[test]
fn the_runbook_has_one_entry_for_each_alert() {
    let alerts = &YamlLoader::load_from_str(&read(ALERTS)).expect("the file is YAML")[0];
    let rules = alerts["groups"][0]["rules"]
        .as_vec()
        .expect("the alerts have rules");
    let runbook = read("docs/runbook.md");
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().expect("the name is valid");
        let link = rule["annotations"]["runbook"].as_str();
        let expected = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(link, Some(&*expected), "{name}");
        assert!(rule["expr"].as_str().is_some(), "{name}");
        let severity = rule["labels"]["severity"].as_str();
        let severity = severity.expect("the alert has a severity");
        let start = format!("## {name}\n\nFires ({severity}): ");
        assert!(runbook.contains(&start), "{start}");
        names.insert(name.to_owned());
    }
    let entries: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        // The other sections answer questions.
        .filter(|name| name.starts_with("Hookgate"))
        .map(str::to_owned)
        .collect();
    assert_eq!(names, entries);
}

#[test]
fn the_network_page_has_every_reason_with_its_status() {
    let page = read("docs/network.md");
    for reason in tower_hookgate::Reason::all() {
        let refusal = tower_hookgate::Refusal::new(reason);
        let headers = refusal.headers();
        let retry_after = headers.get("retry-after").map_or("", |value| {
            value.to_str().expect("the header is visible ASCII")
        });
        let status = refusal.status().as_u16();
        let row = format!("| `{}` | {status} | {retry_after} |", reason.label());
        assert_eq!(page.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn alerts_name_only_existing_reasons() {
    // Reasons of refused deliveries, and of refused connections.
    let known: BTreeSet<&str> = tower_hookgate::Reason::all()
        .map(tower_hookgate::Reason::label)
        .chain(["connections", "no_proxy_header"])
        .collect();
    let alerts = read(ALERTS);
    let mut count = 0;
    for part in alerts.split("reason").skip(1) {
        let Some(quoted) = part.split('"').nth(1).filter(|_| part.starts_with('=')) else {
            continue;
        };
        for reason in quoted.split('|') {
            assert!(known.contains(reason), "{reason}");
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn the_dashboard_has_titled_panels_with_queries() {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/hookgate.json")).expect("the text is JSON");
    let panels = dashboard["panels"]
        .as_array()
        .expect("the dashboard has panels");
    assert!(panels.len() > 10);
    for panel in panels {
        assert!(panel["title"].is_string());
        assert!(
            panel["targets"][0]["expr"].is_string(),
            "{}",
            panel["title"]
        );
    }
}

#[test]
fn the_manifests_are_hardened_and_their_configuration_loads() {
    let mut kinds = BTreeSet::new();
    for name in ["namespace", "redis", "gateway", "network", "kustomization"] {
        let text = read(&format!("deploy/kubernetes/{name}.yaml"));
        for document in YamlLoader::load_from_str(&text).expect("the file is YAML") {
            let kind = document["kind"]
                .as_str()
                .expect("the manifest has a kind")
                .to_owned();
            let pod = &document["spec"]["template"]["spec"];
            for container in pod["containers"].as_vec().into_iter().flatten() {
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
                assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
                assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
            }
            kinds.insert(kind);
        }
    }
    assert!(
        kinds.contains("Deployment") && kinds.contains("StatefulSet"),
        "{kinds:?}"
    );

    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let secret = folder.path().join("beatapi");
    std::fs::write(&secret, "whsec_5f0c8a6de2b94a13").expect("the file is written");
    let text = read("deploy/kubernetes/gateway.toml").replace(
        "/run/secrets/hookgate/beatapi",
        &secret.display().to_string(),
    );
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the file is written");
    let output = Command::new(binary())
        .args(["check", "-c"])
        .arg(&file)
        .env("REDIS_URL", "redis://:password@redis:6379")
        // The name of the server resolves only in the cluster.
        .env("HOOKGATE__UPSTREAMS__APP__SERVERS", "[\"127.0.0.1:80\"]")
        .output()
        .expect("the command runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        stdout.contains("upstreams.app.servers, set by an environment variable"),
        "{stdout}"
    );
    assert!(!stdout.contains("password"), "{stdout}");
}

/// A Redis server that ignores SIGTERM is killed, and may lose writes.
#[test]
fn the_redis_of_the_manifests_exits_on_sigterm() {
    let text = read("deploy/kubernetes/redis.yaml");
    let documents = YamlLoader::load_from_str(&text).expect("the file is YAML");
    let container = documents
        .iter()
        .find_map(|document| document["spec"]["template"]["spec"]["containers"][0].as_hash())
        .expect("a manifest has a container");
    let texts = |key: &str| {
        let list = container[&Yaml::from_str(key)]
            .as_vec()
            .expect("the value is a list");
        let texts = list
            .iter()
            .map(|text| text.as_str().expect("the value is text"));
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let flags = folder.path().display();
    let flags = format!("--port 0 --unixsocket {flags}/socket --dir {flags}");
    let script = texts("args")[0].replace("--dir /data", &flags);
    assert!(script.contains(&flags), "{script}");
    let command = texts("command");
    let mut store = Command::new(&command[0])
        .args(&command[1..])
        .arg(script)
        .env("REDIS_PASSWORD", "5f0c8a6de2b94a13")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts");
    let mut log = BufReader::new(store.stdout.take().expect("the stream is piped")).lines();
    log.find(|line| {
        let line = line.as_ref().expect("the bytes are UTF-8");
        line.contains("Server initialized")
    });
    let killed = Command::new("kill").arg(store.id().to_string()).status();
    assert!(killed.expect("`kill` is installed").success());
    // Exit code 0: Redis handled the signal. A shell as its parent would die by the signal.
    assert_eq!(
        store.wait().expect("the process is a child").code(),
        Some(0)
    );
}
