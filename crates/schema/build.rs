//! Rebuilds the crate when a migration is added, removed or edited: the macro
//! that embeds them reads the folder once and cargo does not know it did.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
