//! `lookout replay`, as `bench-replay` measures it.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::results::{Aim, Section};

pub(crate) fn run() -> anyhow::Result<Section> {
    let program = std::env::current_exe()?.with_file_name("bench-replay");
    ensure!(program.exists(), "there is no {}: cargo build --release -p bench-replay", program.display());
    let output = Command::new(program).arg("json").stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "bench-replay failed");
    let speeds: Vec<(String, Vec<f64>)> = serde_json::from_slice(&output.stdout)?;
    let mut section = Section::new("Replaying a stream of events");
    let (_, lookout) = speeds.first().cloned().context("nothing was measured")?;
    for (name, speeds) in &speeds {
        section.add(name.clone(), speeds.clone(), Aim::None, "lines per CPU-s");
    }
    for (name, speeds) in
        speeds.iter().filter(|(name, _)| name.contains("loop") || name.contains("wc") || name.contains("jq"))
    {
        let aim = if name.contains("serde_json") { Aim::AtLeast(1.0) } else { Aim::None };
        let ratio = lookout.iter().zip(speeds).map(|(lookout, other)| lookout / other).collect();
        section.add(format!("lookout replay ÷ {name}"), ratio, aim, "");
    }
    Ok(section)
}
