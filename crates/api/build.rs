//! Puts the built dashboard into the binary: every file of `dashboard/dist`, with its
//! compressed forms beside it, becomes a line of a table that `assets.rs` includes.
//!
//! Node is not needed: without a built dashboard the table is empty and everything else
//! is as it was. `make dashboard` fills it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../dashboard/dist");
    // A missing path would have this run, and the crate built, every time.
    if dist.is_dir() {
        println!("cargo::rerun-if-changed=../../dashboard/dist");
    } else {
        println!("cargo::rerun-if-changed=build.rs");
    }
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        find(&dist, &mut files)?;
        files.sort();
    }
    let mut table = "&[\n".to_owned();
    for file in &files {
        let name = file.strip_prefix(&dist).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let is_extra =
            name.ends_with(".br") || name.ends_with(".gz") || name.split('/').any(|part| part.starts_with('.'));
        if is_extra {
            continue;
        }
        let compressed = |extension: &str| {
            let path = PathBuf::from(format!("{}.{extension}", file.display()));
            if path.is_file() { format!("Some(include_bytes!({path:?}))") } else { "None".to_owned() }
        };
        let (brotli, gzip) = (compressed("br"), compressed("gz"));
        let _ = writeln!(
            table,
            "    File {{ path: {:?}, plain: include_bytes!({file:?}), brotli: {brotli}, gzip: {gzip} }},",
            format!("/{name}"),
        );
    }
    table.push(']');
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("dashboard.rs"), table)
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { find(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
