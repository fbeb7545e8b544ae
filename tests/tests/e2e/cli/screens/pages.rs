//! The commands in the code blocks of the pages, and the scripts that run them.

use std::path::Path;

use hookgate_tests::replace_tokens;

use crate::documents::{blocks, operators_script, read, readme_script};

/// A script that runs the commands of one page.
pub(super) struct Page {
    /// The name of the document.
    pub(super) name: &'static str,
    /// The script, for a folder of its own.
    pub(super) script: String,
}

/// Returns the pages with commands. `folder` is an empty folder for their files, and `upstream` is
/// the address of an upstream that responds with 204.
pub(super) fn pages(folder: &Path, upstream: &str) -> Vec<Page> {
    let operators = folder.join("first").display().to_string();
    let script = |name: &'static str| blocks(&read(name), "sh");
    [
        ("README.md", readme_script()),
        ("docs/conformance.md", script("docs/conformance.md")),
        ("docs/inspector.md", script("docs/inspector.md")),
        ("docs/install.md", install_script(folder, upstream)),
        ("docs/mismatch.md", script("docs/mismatch.md")),
        ("docs/operating.md", operators_script(&operators)),
        ("docs/queue.md", queue_script()),
    ]
    .map(|(name, script)| Page { name, script })
    .into()
}

/// Returns the commands of the installation page, with the files of the package in `folder` and a
/// service that is no unit of systemd.
fn install_script(folder: &Path, upstream: &str) -> String {
    let page = read("docs/install.md");
    let configuration = format!(
        "mkdir -p secrets\ncat > gateway.toml <<'END'\n{}END\n",
        read("deploy/debian/gateway.toml")
    );
    let commands = [blocks(&page, "sh start"), blocks(&page, "sh deliver")].concat();
    assert!(commands.contains("systemctl enable --now hookgate\n"));
    let commands = commands.replace(" -g hookgate", "").replace(
        "systemctl enable --now hookgate\n",
        "hookgate run -c gateway.toml > access.log 2> hookgate.log &\n\
         until curl -fs http://127.0.0.1:9090/readyz; do sleep 0.1; done\n",
    );
    let folder = folder.display().to_string();
    let script = [configuration, commands]
        .concat()
        .replace("/etc/hookgate", &folder)
        .replace("/var/lib/hookgate", &folder);
    replace_tokens(&script, &[("127.0.0.1:3000", upstream.to_owned())])
}

/// Returns the commands of the page about the queue, and those of its table while a delivery
/// waits.
fn queue_script() -> String {
    let script = blocks(&read("docs/queue.md"), "sh");
    let (before, after) = script
        .split_once("hookgate queue drain")
        .expect("the page drains the queue");
    let waiting = r#"
ENTRY=$(hookgate queue list $QUEUE --json \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["entries"][0]["id"])')
hookgate queue show $QUEUE "$ENTRY"
# A delivery in flight cannot be retried.
until hookgate queue retry $QUEUE "$ENTRY"; do sleep 0.1; done
hookgate queue list $QUEUE --source beatapi
"#;
    format!("{before}{waiting}hookgate queue drain{after}")
}

/// Returns the commands that the code blocks of `page` show: their words up to the first option or
/// value, such as `events list`.
pub(super) fn shown_commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut shell = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = language.starts_with("sh") || language == "text" || language == "bash";
        } else if shell {
            commands.extend(commands_in(line));
        }
    }
    commands
}

/// Returns the commands of one line of a shell.
fn commands_in(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let starts_command = |position: usize| {
        let before = position.checked_sub(1).map(|before| words[before]);
        let word = words[position].rsplit('(').next();
        let first = before.is_none_or(|before| {
            [
                "until", "while", "if", "do", "then", "|", "||", "&&", "sudo",
            ]
            .contains(&before)
                || before.ends_with(';')
        });
        word == Some("hookgate") && (first || words[position] != "hookgate")
    };
    (0..words.len())
        .filter(|&position| starts_command(position))
        .map(|position| heading(&words[position + 1..].join(" ")))
        .collect()
}

/// Returns the first words of the arguments of a command: the names of the command and its
/// subcommand.
pub(super) fn heading(arguments: &str) -> String {
    let is_name = |word: &&str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            && !word.starts_with('-')
    };
    let words: Vec<&str> = arguments.split(' ').take_while(is_name).take(2).collect();
    words.join(" ")
}
