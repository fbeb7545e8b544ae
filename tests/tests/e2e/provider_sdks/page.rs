//! The page `docs/provider-libraries.md`, made of the list of libraries and the list of
//! differences.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::differences::{Difference, Verdict};
use super::library::{Library, Registry, data_file};

/// Returns the library with its pinned version, such as `stripe 23.1.0 (npm)`.
pub(super) fn release(library: &Library) -> String {
    let version = version(library.registry, &library.package);
    format!("{} {version} ({})", library.package, library.registry)
}

fn version(registry: Registry, package: &str) -> String {
    let found = match registry {
        Registry::Npm => pinned("package.json").iter().find_map(|text| {
            let json: Value = serde_json::from_str(text).expect("package.json is JSON");
            Some(json["dependencies"][package].as_str()?.to_owned())
        }),
        Registry::PyPi => pinned("requirements.txt").iter().find_map(|text| {
            let mut pins = text.lines().filter_map(|line| line.split_once("=="));
            pins.find_map(|(name, version)| (name == package).then(|| version.to_owned()))
        }),
    };
    found.unwrap_or_else(|| panic!("{package} of {registry} has no pinned version"))
}

/// Returns both files `name`: the one for `make test`, and the one for `make drift` alone.
fn pinned(name: &str) -> [String; 2] {
    [data_file(name), data_file(&format!("drift/{name}"))]
}

fn rendered() -> String {
    let mut page = data_file("page.md");
    page.push_str("\n| provider | library | signs | in `make test` |\n|---|---|---|---|\n");
    for library in Library::all() {
        let party = if library.is_third_party {
            ", a third party's"
        } else {
            ""
        };
        let yes_if = |fact| if fact { "yes" } else { "" };
        writeln!(
            page,
            "| {} | {}{party} | {} | {} |",
            library.provider.name,
            release(&library),
            yes_if(library.signs),
            yes_if(!library.is_extra)
        )
        .expect("a string takes all text");
    }
    for (verdict, title) in [
        (
            Verdict::Refuses,
            "hookgate refuses, and the library accepts",
        ),
        (
            Verdict::Accepts,
            "hookgate accepts, and the library refuses",
        ),
    ] {
        write!(
            page,
            "\n## Where {title}\n\n| delivery | reason | libraries |\n|---|---|---|\n"
        )
        .expect("a string takes all text");
        let all = Difference::all();
        for one in all.iter().filter(|one| one.hookgate == verdict) {
            writeln!(
                page,
                "| {} | {} | {} |",
                one.cases.join("<br>"),
                one.why.trim(),
                grouped(&one.libraries)
            )
            .expect("a string takes all text");
        }
    }
    page
}

/// Returns the libraries with each provider once, such as `stripe (npm, PyPI)`.
fn grouped(libraries: &[String]) -> String {
    let mut registries: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for library in libraries {
        let (provider, registry) = library.split_once(' ').expect("a name and a registry");
        registries.entry(provider).or_default().push(registry);
    }
    let texts = registries
        .iter()
        .map(|(provider, registries)| format!("{provider} ({})", registries.join(", ")));
    texts.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_of_provider_libraries_is_up_to_date() {
    let rendered = rendered();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/provider-libraries.md");
    let current = std::fs::read_to_string(page).unwrap_or_default();
    if rendered != current {
        let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/provider-libraries.md");
        std::fs::write(file, &rendered).expect("the folder is writable");
        panic!("docs/provider-libraries.md is old: copy {file} to it");
    }
}
