//! Copies source files of the product for the models.
//!
//! In a copy, the locks and atomics are those of shuttle, which decides at each of them which
//! thread runs next. The rest of the code is unchanged. A control is a copy with one fault, which
//! shuttle must find.

#[path = "build/controls.rs"]
mod controls;

use std::path::{Path, PathBuf};
use std::{env, fs};

use self::controls::CONTROLS;

/// Files that are compiled together, below one module.
struct Component {
    name: &'static str,
    folder: &'static str,
    files: &'static [&'static str],
    /// The modules of `files`, and the stand-ins in place of other modules of the crate.
    modules: &'static str,
    /// Changes without which a model would need too many entries or threads.
    edits: &'static [Edit],
}

/// Replaces a text, which the file contains exactly once.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// A copy of a component with a fault.
struct Control {
    name: &'static str,
    component: &'static str,
    fault: Edit,
}

const COMPONENTS: &[Component] = &[
    Component {
        name: "replay",
        folder: "crates/replay/src",
        files: &[
            "memory/mod.rs",
            "memory/capacity.rs",
            "memory/leased_slots.rs",
            "memory/slot.rs",
            "memory/store_time.rs",
            "notifier.rs",
        ],
        modules: "mod memory; mod notifier; use hookgate_replay as store;",
        edits: &[
            // The counts and slots of other sources and keys are removed at once.
            Edit {
                file: "memory/capacity.rs",
                from: "const MIN_PRUNE_AT: usize = 64;",
                to: "const MIN_PRUNE_AT: usize = 1;",
            },
            Edit {
                file: "memory/leased_slots.rs",
                from: "const MIN_PRUNE_AT: usize = 16;",
                to: "const MIN_PRUNE_AT: usize = 1;",
            },
            // Another thread can run between the subscription and its first poll.
            Edit {
                file: "memory/mod.rs",
                from: "        self.0.notifier.notified(key)\n",
                to: "        let settled = self.0.notifier.notified(key);
        async move { shuttle::future::yield_now().await; settled.await }\n",
            },
            // A static outlives an execution, and an atomic of shuttle must not.
            Edit {
                file: "memory/mod.rs",
                from: "static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);",
                to: "static NEXT_TOKEN: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);",
            },
        ],
    },
    Component {
        name: "paired_hash",
        folder: "crates/core/src/verifier",
        files: &["paired_hash.rs"],
        modules: "mod paired_hash; use crate::stand_ins::hash as body_hash; use crate::stand_ins::hash as pending;",
        edits: &[],
    },
    Component {
        name: "queue",
        folder: "crates/queue/src",
        files: &[
            "memory/mod.rs",
            "memory/slot.rs",
            "memory/state.rs",
            "breaker.rs",
            "entry.rs",
            "error.rs",
            "outcome.rs",
            "store.rs",
        ],
        modules: "mod memory; mod breaker; mod entry; mod error; mod outcome; mod store;",
        edits: &[],
    },
    Component {
        name: "lookups",
        folder: "crates/gate/src",
        files: &["shared_lookups.rs"],
        modules: "mod shared_lookups;",
        edits: &[],
    },
];

/// The replaced paths. `CRATE` stands for the module of the copy.
const REPLACED: &[(&str, &str)] = &[
    ("crate::", "CRATE::"),
    ("std::sync::", "shuttle::sync::"),
    ("parking_lot::", "crate::stand_ins::parking_lot::"),
    ("moka::", "crate::stand_ins::moka::"),
    ("tokio::time::", "crate::stand_ins::time::"),
    ("tokio::spawn", "shuttle::future::spawn"),
    ("thread_local! {", "crate::worker_local! {"),
];

fn main() {
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut copies = String::new();
    for component in COMPONENTS {
        copies += &copy(&out, component, component.name, None);
    }
    for control in CONTROLS {
        let mut components = COMPONENTS.iter();
        let of = components.find(|component| component.name == control.component);
        let of = of.unwrap_or_else(|| panic!("{}: no such component", control.name));
        copies += &copy(&out, of, control.name, Some(&control.fault));
    }
    fs::write(out.join("copies.rs"), copies).expect("the folder can be written");
}

/// Copies the files of `component` to the folder `name`. Returns its module.
fn copy(out: &Path, component: &Component, name: &str, fault: Option<&Edit>) -> String {
    let folder = Path::new("../..").join(component.folder);
    for file in component.files {
        let path = folder.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path);
        let mut text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (from, to) in REPLACED {
            text = text.replace(
                from,
                &to.replace("CRATE", &format!("crate::copies::{name}")),
            );
        }
        for edit in component.edits.iter().chain(fault) {
            if edit.file == *file {
                text = edit.apply(&text, &path);
            }
        }
        let copy = out.join(name).join(file);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("the folder can be created");
        fs::write(copy, text).expect("the folder can be written");
    }
    let mut module = format!("pub mod {name} {{\n");
    for item in component.modules.split_inclusive("; ") {
        let item = item.trim();
        if let Some(inner) = item.strip_prefix("mod ") {
            let inner = inner.trim_end_matches(';');
            let as_folder = out.join(name).join(inner).join("mod.rs");
            let path = match as_folder.exists() {
                true => as_folder,
                false => out.join(name).join(format!("{inner}.rs")),
            };
            module += &format!("#[path = {path:?}]\n");
        }
        module += &format!("pub {item}\n");
    }
    module + "}\n"
}

impl Edit {
    fn apply(&self, text: &str, path: &Path) -> String {
        let found = text.matches(self.from).count();
        assert_eq!(
            found,
            1,
            "{}: expected this text once, so that it can be changed:\n{}",
            path.display(),
            self.from
        );
        text.replace(self.from, self.to)
    }
}
