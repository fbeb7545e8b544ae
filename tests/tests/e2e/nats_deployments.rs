//! The manifests and the compose file with a queue in NATS: they are hardened, fit together, and
//! their configurations load.

use std::process::Command;

use hookgate_tests::binary;
use yaml_rust2::{Yaml, YamlLoader};

use crate::documents::read;

const KUBERNETES: &str = "deploy/kubernetes-nats";
const COMPOSE: &str = "deploy/compose";

fn documents(name: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(name)).expect("the file is YAML")
}

#[test]
fn the_nats_servers_of_the_manifests_are_hardened_and_spread() {
    let documents = documents(&format!("{KUBERNETES}/nats.yaml"));
    let of_kind = |kind: &str| {
        let found = documents.iter().find(|d| d["kind"].as_str() == Some(kind));
        found.unwrap_or_else(|| panic!("a {kind} exists"))
    };
    let servers = &of_kind("StatefulSet")["spec"];
    assert_eq!(servers["replicas"].as_i64(), Some(3));
    let pod = &servers["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert!(!pod["affinity"]["podAntiAffinity"].is_badvalue());
    let security = &pod["containers"][0]["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(security["allowPrivilegeEscalation"].as_bool(), Some(false));
    let budget = &of_kind("PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"].as_i64(), Some(1));
    let policy = &of_kind("NetworkPolicy")["spec"]["ingress"];
    assert_eq!(policy.as_vec().map(Vec::len), Some(2));

    let overlay = &self::documents(&format!("{KUBERNETES}/kustomization.yaml"))[0];
    assert_eq!(overlay["resources"][0].as_str(), Some("../kubernetes"));
    let patch = overlay["patches"][0]["patch"].as_str().unwrap_or_default();
    let patch = &YamlLoader::load_from_str(patch).expect("the patch is YAML")[0][0];
    assert_eq!(patch["value"]["name"].as_str(), Some("NATS_URL"));
}

#[test]
fn the_configurations_of_the_nats_servers_are_valid() {
    for folder in [KUBERNETES, COMPOSE] {
        let program = std::env::var_os("HOOKGATE_NATS_SERVER");
        let output = Command::new(program.unwrap_or_else(|| "nats-server".into()))
            .args(["-t", "-c"])
            .arg(format!(
                "{}/../{folder}/nats.conf",
                env!("CARGO_MANIFEST_DIR")
            ))
            .env("POD_NAME", "nats-0")
            .env("NATS_PASSWORD", "5f0c8a6de2b94a13")
            .output()
            .expect("nats-server is installed: apt install nats-server");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{folder}: {text}");
    }
}

#[test]
fn the_configurations_of_the_gateways_load() {
    let secret = "whsec_5f0c8a6de2b94a13";
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let secret_file = folder.path().join("beatapi");
    std::fs::write(&secret_file, secret).expect("the file is written");
    for name in [KUBERNETES, COMPOSE] {
        let text = read(&format!("{name}/gateway.toml")).replace(
            "/run/secrets/hookgate/beatapi",
            &secret_file.display().to_string(),
        );
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).expect("the file is written");
        let output = Command::new(binary())
            .args(["check", "-c"])
            .arg(&file)
            .env("REDIS_URL", "redis://:password@redis:6379")
            .env("NATS_URL", "nats://hookgate:password@nats:4222")
            .env("BEATAPI_SECRET", secret)
            // The name of the server resolves only beside the others.
            .env("HOOKGATE__UPSTREAMS__APP__SERVERS", "[\"127.0.0.1:80\"]")
            .output()
            .expect("the command runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {text}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("password"), "{text}");
    }
}

#[test]
fn the_services_of_the_compose_file_are_those_that_the_gateway_names() {
    let services = &documents(&format!("{COMPOSE}/compose.yaml"))[0]["services"];
    let config = read(&format!("{COMPOSE}/gateway.toml"));
    assert!(config.contains("servers = [\"upstream:3000\"]"));
    for name in ["gateway", "redis", "nats", "upstream"] {
        assert!(!services[name].is_badvalue(), "{name}");
    }
    let gateway = &services["gateway"];
    for (variable, service) in [("REDIS_URL", "redis"), ("NATS_URL", "nats")] {
        let url = gateway["environment"][variable].as_str();
        let url = url.expect("the variable is set");
        assert!(url.starts_with(&format!("{service}://{service}:")), "{url}");
        assert!(config.contains(&format!("env:{variable}")));
    }
    assert_eq!(gateway["read_only"].as_bool(), Some(true));
}
