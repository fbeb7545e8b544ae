//! Puts mutants of cargo-mutants behind switches, so that one build contains all of them.
//!
//! Usage: `hookgate-mutants ROOT TREE < mutants.json`. The input is the list of `cargo mutants --list
//! --json`, with a number as `id` of each mutant. The program reads the files under ROOT, and writes
//! them under TREE with a switch `crate::mutant_switch::on(ID)` for each mutant. It prints a [`Report`].

mod mutant;
mod render;
mod site;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::{env, fs, io};

use serde::Serialize;

use mutant::Mutant;

/// The outcome of the rewriting.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The bytes of each mutant in each written file. A compile error there makes the mutant unviable.
    ranges: BTreeMap<String, Vec<render::MutantRange>>,
    /// The mutants in code that runs at compile time.
    constant: Vec<usize>,
    /// The mutants that do not compile.
    unviable: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let [root, tree] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "expected two arguments: ROOT and TREE")?;
    let mutants: Vec<Mutant> = serde_json::from_reader(io::stdin())?;
    let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    for mutant in &mutants {
        by_file.entry(&mutant.file).or_default().push(mutant);
    }
    let mut report = Report::default();
    for (file, mutants) in by_file {
        let source = fs::read_to_string(Path::new(&root).join(file))?;
        let found = site::find(&source, &mutants).map_err(|error| format!("{file}: {error}"))?;
        let (text, ranges) = render::render(&source, &found.sites);
        let to = Path::new(&tree).join(file);
        fs::create_dir_all(to.parent().expect("the path has a file name"))?;
        fs::write(to, text)?;
        report.constant.extend(found.constant);
        report.unviable.extend(found.unviable);
        report.ranges.insert(file.to_owned(), ranges);
    }
    serde_json::to_writer(io::stdout(), &report)?;
    Ok(())
}
