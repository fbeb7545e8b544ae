//! The output of the commands that the pages show, in a terminal of 80 columns and 24 lines. No
//! line may be longer: the terminal would break it in the middle of a word.
//!
//! The screens are in `target/tmp/screens`, one file for each page.

mod pages;
mod tmux;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hookgate_tests::{Upstream, binary};
use tempfile::TempDir;

use self::pages::{Page, heading, pages, shown_commands};
use self::tmux::{COLUMNS, Screen, Terminal};
use crate::documents::{read, with_free_ports};

/// The commands whose output goes to a file or to another program in every page, with the reason.
const OFF_SCREEN: [(&str, &str); 2] = [
    (
        "run",
        "it runs in the background; its logs have one line for each request or event",
    ),
    (
        "sign",
        "it prints headers for a file, which must stay whole",
    ),
];

/// Lines that may be wrapped, by the command and the start of the line, with the reason.
const MAY_WRAP: [(&str, &str, &str); 3] = [
    ("events show", SIGNATURE, WHOLE),
    ("queue show", SIGNATURE, WHOLE),
    (
        "events show",
        "hookgate verify --config ",
        "a command to copy",
    ),
];
const SIGNATURE: &str = "x-beatapi-signature: ";
const WHOLE: &str = "a header of the sender stays whole, so that it can be compared";

/// The columns of the labels in the output of `hookgate providers NAME`.
const PROVIDER_LABEL: usize = 13;

/// The wrapper of hookgate in the path of the scripts. On a terminal, it prints the command before
/// the output, and a line with a dot after it.
const WRAPPER: &str = r#"#!/bin/bash
if [ ! -t 1 ]; then
  printf 'file\t%s\n' "$*" >> "@BIN@/commands"
  exec -a hookgate "@BINARY@" "$@"
fi
printf 'terminal\t%s\n' "$*" >> "@BIN@/commands"
title="\$ hookgate $*"
printf '\n%s\n' "${title:0:80}"
(exec -a hookgate "@BINARY@" "$@")
status=$?
printf '\n·\n'
exit "$status"
"#;

/// A screen, and the commands that ran on it or beside it.
struct Run {
    screen: Screen,
    /// The commands with the word `terminal` or `file`, and a tab, before each.
    commands: String,
}

impl Run {
    /// Runs `script` in `folder`.
    fn new(script: &str, folder: &Path) -> Self {
        let bin = tempfile::tempdir().expect("the temporary folder is created");
        let path = bin.path().display().to_string();
        let program = binary().display().to_string();
        let wrapper = WRAPPER
            .replace("@BINARY@", &program)
            .replace("@BIN@", &path);
        let file = bin.path().join("hookgate");
        fs::write(&file, wrapper).expect("the wrapper is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the mode is set");
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}");
        let screen = Terminal::run(&with_free_ports(&script), folder, bin.path());
        let commands = fs::read_to_string(bin.path().join("commands")).unwrap_or_default();
        Self { screen, commands }
    }

    /// Returns the commands that ran on the terminal or not on it.
    fn headings(&self, place: &str) -> Vec<String> {
        let commands = self.commands.lines();
        commands
            .filter_map(|line| line.strip_prefix(place)?.strip_prefix('\t'))
            .map(heading)
            .collect()
    }

    /// Asserts that no output of hookgate is wrapped, and that the script succeeded.
    fn assert_fits(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
        fs::create_dir_all(&folder).expect("the folder is created");
        let file = folder.join(format!("{}.txt", name.replace('/', "-")));
        fs::write(&file, &self.screen.rows).expect("the screens are written");
        assert!(self.screen.success, "{name}:\n{}", self.screen.rows);
        let wrapped = wrapped_output(&self.screen);
        assert!(wrapped.is_empty(), "{name}:\n{}", wrapped.join("\n"));
    }
}

/// Returns the wrapped lines that hookgate wrote, with their commands.
fn wrapped_output(screen: &Screen) -> Vec<String> {
    let mut wrapped = Vec::new();
    let mut command = None;
    for line in &screen.lines {
        if let Some(title) = line.strip_prefix("$ hookgate ") {
            command = Some(heading(title));
        } else if line.trim_end() == "·" {
            command = None;
        } else if let Some(command) = &command
            && line.chars().count() > COLUMNS
            && !may_wrap(command, line)
        {
            wrapped.push(format!("{command}: {line}"));
        }
    }
    wrapped
}

/// Whether a line may be longer than the terminal. `providers` prints addresses and signed messages
/// without a blank, each below the others.
fn may_wrap(command: &str, line: &str) -> bool {
    let is_one_word = || line.chars().skip(PROVIDER_LABEL).all(|char| char != ' ');
    if command.starts_with("providers") && is_one_word() {
        return true;
    }
    let allowed = MAY_WRAP.iter();
    allowed
        .filter(|(name, _, _)| *name == command)
        .any(|(_, start, _)| line.trim_start().starts_with(start))
}

fn empty_folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder is created")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_pages_fit_a_terminal_of_80_columns() {
    let upstream = Upstream::start().await;
    let address = upstream.address().to_string();
    let names = documents();
    tokio::task::spawn_blocking(move || {
        let (mut on_screen, mut off_screen) = (BTreeSet::new(), BTreeSet::new());
        let folder = empty_folder();
        let pages = pages(folder.path(), &address);
        for Page { name, script } in &pages {
            // The installation page has the folder in its script.
            let own = empty_folder();
            let place = if *name == "docs/install.md" {
                folder.path()
            } else {
                own.path()
            };
            let run = Run::new(script, place);
            run.assert_fits(name);
            let (shown, hidden) = (run.headings("terminal"), run.headings("file"));
            let mut executed = [&shown[..], &hidden[..]].concat();
            for command in shown_commands(&read(name)) {
                let found = executed.iter().position(|other| *other == command);
                let found = found.unwrap_or_else(|| panic!("{name}: `{command}` did not run"));
                executed.swap_remove(found);
            }
            on_screen.extend(shown);
            off_screen.extend(hidden);
        }
        let scripted: Vec<&str> = pages.iter().map(|page| page.name).collect();
        for name in names
            .iter()
            .filter(|name| !scripted.contains(&name.as_str()))
        {
            let commands = shown_commands(&read(name));
            assert!(commands.is_empty(), "{name}: no script runs {commands:?}");
        }
        let never: Vec<_> = off_screen.difference(&on_screen).collect();
        assert_eq!(never, OFF_SCREEN.map(|(command, _)| command));
    })
    .await
    .expect("the scripts run");
}

/// Returns the names of the README and of the pages.
fn documents() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let files = fs::read_dir(folder).expect("the folder exists");
    let names = files.map(|file| file.expect("the folder is readable").file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .chain(["README.md".to_owned()])
        .collect()
}

#[test]
fn the_help_and_the_catalogue_fit_a_terminal_of_80_columns() {
    let script = r#"
hookgate --version
hookgate --help
hookgate demo
hookgate providers
hookgate providers pay
hookgate providers no-such-name || true
hookgate check -c no-such-file.toml || true
hookgate man > /dev/null
mkdir pages && hookgate man --dir pages
for page in pages/*; do
  name=${page##*/hookgate}
  name=${name%.1}
  test -z "$name" || hookgate ${name//-/ } --help
done
for provider in $(hookgate providers | awk 'NF > 1 { print $1 }' | grep -vx name); do
  hookgate providers "$provider"
done
"#;
    let folder = empty_folder();
    let run = Run::new(script, folder.path());
    run.assert_fits("help");
    let commands = run.headings("terminal");
    for command in ["check", "events list", "queue drain", "providers stripe"] {
        assert!(commands.iter().any(|other| other == command), "{command}");
    }
    assert!(commands.len() > 150, "{commands:?}");
    assert_aligned(&run.screen, &["provider", "delivery", "verdict"], 44);
    assert_aligned(&run.screen, &["name", "provider", "duplicates"], 200);
}

/// Asserts that the cells of a table begin below the words of its header, in at least `rows` rows.
fn assert_aligned(screen: &Screen, header: &[&str], rows: usize) {
    let mut lines = screen.lines.iter();
    let first = lines.find(|line| {
        let words = line.split_whitespace();
        words
            .zip(header)
            .filter(|(word, name)| word == *name)
            .count()
            == header.len()
    });
    let first = first.unwrap_or_else(|| panic!("no table {header:?}"));
    let starts: Vec<usize> = header.iter().filter_map(|name| first.find(name)).collect();
    let table: Vec<Vec<char>> = lines
        .take_while(|line| !line.trim().is_empty())
        .map(|line| line.chars().collect())
        .collect();
    assert!(table.len() >= rows, "{header:?}: {} rows", table.len());
    for row in table {
        for &start in &starts {
            let begins = row.get(start).is_some_and(|cell| *cell != ' ')
                && (start == 0 || row[start - 1] == ' ');
            assert!(begins, "column {start}: {}", row.iter().collect::<String>());
        }
    }
}

/// The control: a line that is too long is found, and a line of exactly 80 columns is not.
#[test]
fn a_line_of_81_columns_is_found() {
    let folder = empty_folder();
    let script = "printf '$ hookgate check\\n%080d\\n%081d\\n·\\n%081d\\n' 1 2 3";
    let run = Run::new(script, folder.path());
    assert!(run.screen.success);
    assert_eq!(run.screen.wrapped().len(), 2);
    assert_eq!(wrapped_output(&run.screen), [format!("check: {:081}", 2)]);
}

#[test]
fn commands_are_found_in_code_blocks() {
    let page = "`hookgate run`\n```sh\nhookgate check -c x\nX=$(hookgate events list $I)\n\
                apt remove hookgate\nuntil hookgate events show 1; do :; done\n```\nhookgate send\n";
    assert_eq!(
        shown_commands(page),
        ["check", "events list", "events show"]
    );
}
