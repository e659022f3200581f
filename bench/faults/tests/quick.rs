//! The short rows, as part of all tests.

use std::process::Command;

#[test]
fn the_quick_rows_keep_their_promises() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench-faults")).arg("--quick").output().expect("it starts");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{told}");
}
