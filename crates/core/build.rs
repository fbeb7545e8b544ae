//! Lists the provider files, so that adding a provider only takes a new file.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder =
        Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("providers");
    println!("cargo::rerun-if-changed=providers");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .map(str::to_owned);
            names.push(
                name.ok_or_else(|| io::Error::other("the name of a provider file is not UTF-8"))?,
            );
        }
    }
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let path = folder.join(format!("{name}.toml"));
        writeln!(list, "({name:?}, include_str!({:?})),", path).map_err(io::Error::other)?;
    }
    list.push(']');
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("providers.rs"), list)
}
