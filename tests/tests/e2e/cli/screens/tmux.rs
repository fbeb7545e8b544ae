//! A terminal of 80 columns and 24 lines: a pane of a tmux server of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The columns of the terminal.
pub(super) const COLUMNS: usize = 80;

/// The time that a script may take.
const DEADLINE: Duration = Duration::from_secs(1200);

/// The settings of tmux: a pane keeps everything that has scrolled off it, and has all 24 lines.
const SETTINGS: &str = "set -g history-limit 100000\nset -g status off\n";

/// Runs a script in the pane. The pane stays after the end of the script, so that its output can be
/// read. The exit code goes to a file: tmux sometimes does not collect a process that has ended.
const PANE: &str = r#"
bash -euo pipefail "$1/script.sh"
echo "$?" > "$1/exit.new"
mv "$1/exit.new" "$1/exit"
sleep infinity
"#;

/// A tmux server with one pane. Dropping it ends the server and its processes.
pub(super) struct Terminal {
    socket: PathBuf,
    /// Has the exit code when the script has ended.
    exit: PathBuf,
}

/// The output of a script in a [`Terminal`].
pub(super) struct Screen {
    /// The lines of the script, as long as the script wrote them.
    pub(super) lines: Vec<String>,
    /// The rows of the terminal, in which a long line takes several.
    pub(super) rows: String,
    /// Whether the script ended with the exit code 0.
    pub(super) success: bool,
}

impl Screen {
    /// Returns the lines that the terminal wrapped.
    pub(super) fn wrapped(&self) -> Vec<&str> {
        let lines = self.lines.iter().map(String::as_str);
        lines
            .filter(|line| line.chars().count() > COLUMNS)
            .collect()
    }
}

impl Terminal {
    /// Runs the bash script `script` in `folder`, with the programs of the folder `bin` first in
    /// its path. Returns the output after the script has ended.
    pub(super) fn run(script: &str, folder: &Path, bin: &Path) -> Screen {
        let settings = bin.join("tmux.conf");
        fs::write(&settings, SETTINGS).expect("the settings are written");
        fs::write(bin.join("script.sh"), script).expect("the script is written");
        let terminal = Self {
            socket: bin.join("tmux.sock"),
            exit: bin.join("exit"),
        };
        let path = std::env::var("PATH").expect("PATH is set");
        let started = terminal
            .tmux()
            .arg("-f")
            .args([&settings])
            .args(["new-session", "-d", "-x", "80", "-y", "24", "-c"])
            .arg(folder)
            .args(["bash", "-c", PANE, "pane"])
            .arg(bin)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("`tmux` is installed; `make test` installs it");
        assert!(started.status.success(), "{}", text(&started));
        let success = terminal.wait() == "0";
        Screen {
            lines: terminal
                .capture(&["-J"])
                .lines()
                .map(str::to_owned)
                .collect(),
            rows: terminal.capture(&[]),
            success,
        }
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        // `-u`: the terminal has UTF-8.
        command.arg("-u").arg("-S").arg(&self.socket);
        command
    }

    /// Waits until the script has ended, and returns its exit code.
    fn wait(&self) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Ok(code) = fs::read_to_string(&self.exit) {
                return code.trim().to_owned();
            }
            assert!(
                Instant::now() < end,
                "the script does not end:\n{}",
                self.capture(&[])
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Returns the screen with everything that has scrolled off it.
    fn capture(&self, options: &[&str]) -> String {
        let output = self
            .tmux()
            .args(["capture-pane", "-p", "-S", "-"])
            .args(options)
            .output()
            .expect("`tmux` is installed");
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server may have failed to start.
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// Returns standard output followed by standard error.
fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}
