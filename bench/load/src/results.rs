//! Figures, and the page made of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::machine;

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// Told for its own sake.
    None,
}

/// One line of the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    /// Each run; the median counts.
    pub(crate) runs: Vec<f64>,
    pub(crate) aim: Aim,
    /// Unit, or nothing for a ratio.
    pub(crate) unit: String,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, runs: Vec<f64>, aim: Aim, unit: &str) -> Self {
        Self { what: what.into(), runs, aim, unit: unit.to_owned() }
    }

    fn line(&self) -> String {
        let value = median(&self.runs);
        let (aim, reached) = match self.aim {
            Aim::AtLeast(aim) => (format!("≥ {}", number(aim)), if value >= aim { "yes" } else { "**no**" }),
            Aim::AtMost(aim) => (format!("≤ {}", number(aim)), if value <= aim { "yes" } else { "**no**" }),
            Aim::None => (String::new(), ""),
        };
        let (least, most) =
            self.runs.iter().fold((f64::MAX, f64::MIN), |(low, high), run| (low.min(*run), high.max(*run)));
        let range = if self.runs.len() > 1 { format!("{} to {}", number(least), number(most)) } else { String::new() };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        format!("| {} | {}{unit} | {range} | {} | {aim} | {reached} |", self.what, number(value), self.runs.len())
    }
}

/// Figures that were measured together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) figures: Vec<Figure>,
    /// What a reader has to know of them.
    pub(crate) notes: Vec<String>,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    at: String,
}

impl Section {
    pub(crate) fn new(title: &str) -> Self {
        let commit = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
        let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
        let at = chrono::Utc::now().format("%Y-%m-%d %H:%M").to_string();
        Self { title: title.to_owned(), figures: Vec::new(), notes: Vec::new(), commit, at }
    }

    pub(crate) fn add(&mut self, what: impl Into<String>, runs: Vec<f64>, aim: Aim, unit: &str) {
        let figure = Figure::new(what, runs, aim, unit);
        println!("{}", figure.line());
        self.figures.push(figure);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Keeps it for the page, under a name that orders it.
    pub(crate) fn save(&self, files: &Path, name: &str) -> anyhow::Result<()> {
        let results = files.join("results");
        fs::create_dir_all(&results)?;
        Ok(fs::write(results.join(format!("{name}.json")), serde_json::to_string_pretty(self)?)?)
    }
}

/// The middle of some numbers; of an even count the upper of the two.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5)
}

/// The number that a share of all does not exceed; NaN of none.
pub(crate) fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e12 {
        return (value as i64).to_string();
    }
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Writes the page from every section that was ever measured.
pub(crate) fn write(files: &Path, page: &Path) -> anyhow::Result<()> {
    let mut names: Vec<_> = fs::read_dir(files.join("results"))?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let mut text = format!(
        "# Results\n\nWritten by `make bench` (and `make bench-large`); see [README.md](README.md) for how. Medians of\n\
         interleaved runs, most of them ratios to something that was measured beside it in the same minute. Absolute\n\
         figures are for orientation.\n\nMachine: {}.\n",
        machine::describe()
    );
    for name in names {
        let section: Section = serde_json::from_str(&fs::read_to_string(name)?)?;
        text.push_str(&format!("\n## {}\n\n", section.title));
        text.push_str("| figure | median | range | runs | aim | reached |\n|---|---|---|---|---|---|\n");
        for figure in &section.figures {
            text.push_str(&figure.line());
            text.push('\n');
        }
        for note in &section.notes {
            text.push_str(&format!("\n{note}\n"));
        }
        text.push_str(&format!("\nCommit {}, {} UTC.\n", section.commit, section.at));
    }
    fs::write(page, text)?;
    println!("\n{} is written", page.display());
    Ok(())
}
