//! The switches of the mutants. The build with all mutants has this module in each crate.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static SWITCHES: LazyLock<Switches> = LazyLock::new(|| Switches {
    on: variable("HOOKGATE_MUTANT").map(|id| id.parse().expect("the id of a mutant is a number")),
    reached: variable("HOOKGATE_REACHED").map(|path| Reached {
        file: OpenOptions::new().create(true).append(true).open(path).expect("the file opens"),
        seen: (0..1 << 16).map(|_| AtomicBool::new(false)).collect(),
    }),
});

struct Switches {
    on: Option<usize>,
    reached: Option<Reached>,
}

/// The mutants whose code has run, as lines of a file.
struct Reached {
    file: File,
    seen: Vec<AtomicBool>,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the mutant is on.
#[must_use]
pub fn on(id: usize) -> bool {
    if let Some(reached) = &SWITCHES.reached
        && !reached.seen[id].swap(true, Ordering::Relaxed)
    {
        (&reached.file).write_all(format!("{id}\n").as_bytes()).expect("the file is writable");
    }
    SWITCHES.on == Some(id)
}
