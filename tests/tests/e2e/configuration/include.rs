//! Configurations that are spread over several files.

use std::path::Path;
use std::process::Command;

use hookgate_tests::{Gateway, SECRETS, TestProvider, Upstream, binary, send};
use http::StatusCode;
use tempfile::TempDir;

const MAIN: &str = "include = [\"sources/*.toml\"]\n[server]\nlisten = [\"127.0.0.1:0\"]\n";
const APP: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n";

fn source(name: &str) -> String {
    format!(
        "[[sources]]\nname = \"{name}\"\npath = \"/hooks/{name}\"\nprovider = \"beatapi\"\n\
         secrets = [\"env:GOOD\"]\nupstream = \"app\"\n"
    )
}

/// Writes a configuration, each file with its name.
fn files(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is created");
    std::fs::write(path, text).expect("the file is written");
}

/// Runs `hookgate check` on `gateway.toml`. Returns the exit code and the output.
fn check(folder: &TempDir) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .arg("check")
        .arg("-c")
        .arg(folder.path().join("gateway.toml"))
        .env("GOOD", SECRETS[0].1)
        // The paths do not depend on the working directory.
        .current_dir("/")
        .output()
        .expect("the command runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("the output is text");
    let shown = format!("{}/", folder.path().display());
    (output.status.code(), text.replace(&shown, ""))
}

#[test]
fn included_files_add_sources_and_upstreams_in_the_order_of_their_names() {
    let folder = files(&[
        ("gateway.toml", &format!("{MAIN}{}", source("main"))),
        ("sources/b.toml", &source("b")),
        (
            "sources/a.toml",
            &format!("{APP}{}{}", source("a1"), source("a2")),
        ),
        ("sources/.hidden.toml", "not TOML"),
        ("sources/c.toml.bak", "not TOML"),
    ]);
    let (exit, output) = check(&folder);
    assert_eq!(exit, Some(0), "{output}");
    let lines = output.lines();
    let sources: Vec<&str> = lines
        .filter_map(|line| line.strip_prefix("source"))
        .map(str::trim)
        .collect();
    let expected = ["main", "a1", "a2", "b"];
    let expected = expected.map(|name| format!("{name}: POST /hooks/{name} -> app"));
    assert_eq!(sources, expected);
    assert!(output.contains("app: 127.0.0.1:3000"), "{output}");
}

#[test]
fn a_mistake_names_its_file_and_its_line() {
    let wrong = format!(
        "{}\n{}",
        source("a"),
        source("b").replace("beatapi", "beatapy")
    );
    for (file, text, expected) in [
        (
            "a.toml",
            &*wrong,
            "sources/a.toml, line 11, source b: provider: \"beatapy\"",
        ),
        ("a.toml", "a = \n", "sources/a.toml, line 1: not TOML"),
        (
            "a.toml",
            "include = [\"b.toml\"]\n",
            "sources/a.toml, line 1: include: an included file cannot",
        ),
        (
            "a.toml",
            "[server]\n",
            "sources/a.toml, line 1: server: not allowed here",
        ),
        (
            "a.toml",
            "\n[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n",
            "sources/a.toml, line 2: upstreams.app: also an upstream of gateway.toml",
        ),
        (
            "a.toml",
            "[upstreams.other]\nservers = [\"nowhere\"]\n",
            "sources/a.toml, line 2: upstreams.other.servers[0]: expected HOST:PORT",
        ),
        (
            "a.toml",
            &source("main"),
            "sources/a.toml, line 2, source main: name: \"main\" is also a source of gateway.toml",
        ),
    ] {
        let main = format!("{MAIN}{APP}{}", source("main"));
        let folder = files(&[("gateway.toml", &main), (&format!("sources/{file}"), text)]);
        let (exit, output) = check(&folder);
        assert_eq!(exit, Some(78), "{text}: {output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
    let folder = files(&[
        ("gateway.toml", &format!("{MAIN}{APP}")),
        ("sources/a.toml", &source("same")),
        ("sources/b.toml", &source("same")),
    ]);
    let (exit, output) = check(&folder);
    assert_eq!(exit, Some(78), "{output}");
    let expected = "sources/b.toml, line 2, source same: name: \"same\" is also a source of \
                    sources/a.toml, line 1";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn a_wrong_include_is_refused_and_an_empty_one_is_a_warning() {
    let main = |include: &str| {
        let rest = MAIN.split_once('\n').expect("two lines").1;
        format!("include = {include}\n{rest}{APP}{}", source("main"))
    };
    for include in ["[]", "[\"sources/*.toml\"]", "\"nowhere/*.toml\""] {
        let (exit, output) = check(&files(&[("gateway.toml", &main(include))]));
        assert_eq!(exit, Some(0), "{include}: {output}");
        let warns = output.contains("include: no file matches");
        assert_eq!(warns, include.contains('*'), "{include}: {output}");
    }
    for (include, expected) in [
        ("7", "line 1: include: expected paths such as"),
        ("[7]", "line 1: include: expected paths such as"),
        ("\"\"", "line 1: include: expected paths such as"),
        (
            "\"a.toml\"",
            "line 1: include: cannot read a.toml: No such file",
        ),
        (
            "\"*/a.toml\"",
            "line 1: include: \"*/a.toml\" has no file name, or `*` in a folder",
        ),
        (
            "\"gateway.toml\"",
            "gateway.toml, line 1: include: an included file cannot",
        ),
    ] {
        let (exit, output) = check(&files(&[("gateway.toml", &main(include))]));
        assert_eq!(exit, Some(78), "{include}: {output}");
        assert!(output.contains(expected), "{expected}: {output}");
    }
}

#[tokio::test]
async fn a_changed_an_added_and_a_removed_file_reload_the_gateway() {
    let upstream = Upstream::start().await;
    let folder = files(&[]);
    let sources = folder.path().join("sources");
    std::fs::create_dir(&sources).expect("the folder is created");
    let gateway = Gateway::builder(upstream.address())
        .include(&format!("{}/*.toml", sources.display()))
        .env("GOOD", SECRETS[0].1)
        .start();
    let provider = TestProvider::named("beatapi");
    let status = async |path: &str, id: &str| {
        let mut request = provider.delivery(id);
        *request.uri_mut() = path.parse().expect("a path");
        send(gateway.address(), request).await.status
    };
    assert_eq!(status("/hooks/a", "evt_1").await, StatusCode::NOT_FOUND);

    let before = gateway.reloads().await;
    write(&sources, "a.toml", &source("a"));
    assert!(gateway.wait_for_reload(before).await, "{}", gateway.log());
    assert_eq!(status("/hooks/a", "evt_2").await, StatusCode::NO_CONTENT);

    let before = gateway.reloads().await;
    write(
        &sources,
        "a.toml",
        &source("a").replace("/hooks/a", "/hooks/b"),
    );
    assert!(gateway.wait_for_reload(before).await, "{}", gateway.log());
    assert_eq!(status("/hooks/a", "evt_3").await, StatusCode::NOT_FOUND);
    assert_eq!(status("/hooks/b", "evt_4").await, StatusCode::NO_CONTENT);

    let before = gateway.reloads().await;
    std::fs::remove_file(sources.join("a.toml")).expect("the file exists");
    assert!(gateway.wait_for_reload(before).await, "{}", gateway.log());
    assert_eq!(status("/hooks/b", "evt_5").await, StatusCode::NOT_FOUND);
}
