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
    // Copies, so that a dashboard built anew meanwhile takes no file away from the compiler.
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let mut table = "&[\n".to_owned();
    for file in &files {
        let name = file.strip_prefix(&dist).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let is_extra =
            name.ends_with(".br") || name.ends_with(".gz") || name.split('/').any(|part| part.starts_with('.'));
        if is_extra {
            continue;
        }
        let copy = |from: &Path| -> io::Result<String> {
            let to = out.join(from.file_name().unwrap_or_default());
            fs::copy(from, &to)?;
            Ok(format!("include_bytes!({to:?})"))
        };
        let compressed = |extension: &str| -> io::Result<String> {
            let path = PathBuf::from(format!("{}.{extension}", file.display()));
            if path.is_file() { Ok(format!("Some({})", copy(&path)?)) } else { Ok("None".to_owned()) }
        };
        let (plain, brotli, gzip) = (copy(file)?, compressed("br")?, compressed("gz")?);
        let _ = writeln!(
            table,
            "    File {{ path: {:?}, plain: {plain}, brotli: {brotli}, gzip: {gzip} }},",
            format!("/{name}"),
        );
    }
    table.push(']');
    fs::write(out.join("dashboard.rs"), table)
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { find(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
