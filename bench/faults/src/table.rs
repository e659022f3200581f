//! What is printed, and what is written for those who do not run it.

use std::process::Command;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use crate::oracle::Figures;
use crate::rows::Row;

/// What a row came to.
pub(crate) struct RowResult {
    pub(crate) row: &'static Row,
    pub(crate) played: Played,
}

pub(crate) enum Played {
    /// To its end.
    Ended(Box<Outcome>),
    /// This machine cannot play it, and why.
    Left(String),
    /// Something did not happen at all.
    Broken(String),
}

/// Figures and the row's own judgement of them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) memory_kib: u64,
    pub(crate) recovery: Option<Duration>,
    /// More than the figures say.
    pub(crate) note: String,
    /// The most that it may come to.
    pub(crate) bars: Vec<String>,
    /// What was not as promised.
    pub(crate) broken: Vec<String>,
}

impl RowResult {
    pub(crate) fn failed(&self) -> bool {
        match &self.played {
            Played::Ended(outcome) => !outcome.broken.is_empty(),
            Played::Left(_) => false,
            Played::Broken(_) => true,
        }
    }
}

/// What a reader has to know of all rows.
const REMARK: &str = "F4 is away for two minutes. In F11 a handover may cost a request more.";

const HEAD: [&str; 13] = [
    "row",
    "due",
    "LOST",
    "DUP",
    "BLAME",
    "FALSE-INC",
    "missed",
    "asked twice",
    "BLIND s",
    "lag p99 ms",
    "memory MB",
    "recovery s",
    "result",
];

fn cells(result: &RowResult) -> Vec<String> {
    let mut cells = vec![result.row.name.to_owned()];
    match &result.played {
        Played::Ended(outcome) => {
            let figures = &outcome.figures;
            cells.extend([
                figures.due.to_string(),
                figures.lost.to_string(),
                figures.dup.to_string(),
                figures.blame.to_string(),
                figures.incidents.to_string(),
                figures.missed.to_string(),
                figures.asked_twice.to_string(),
                format!("{:.1}", figures.blind_s.max(0.0)),
                format!("{:.0}", figures.lag_p99_ms),
                format!("{:.0}", outcome.memory_kib as f64 / 1024.0),
                outcome.recovery.map_or("–".to_owned(), |time| format!("{:.1}", time.as_secs_f64())),
                if outcome.broken.is_empty() { "pass".to_owned() } else { "FAIL".to_owned() },
            ]);
        }
        Played::Left(_) => {
            cells.extend(std::iter::repeat_n("–".to_owned(), HEAD.len() - 2));
            cells.push("not run".to_owned());
        }
        Played::Broken(_) => {
            cells.extend(std::iter::repeat_n("–".to_owned(), HEAD.len() - 2));
            cells.push("FAIL".to_owned());
        }
    }
    cells
}

fn remark(result: &RowResult) -> String {
    match &result.played {
        Played::Ended(outcome) if outcome.broken.is_empty() => outcome.note.clone(),
        Played::Ended(outcome) => format!("{} NOT: {}", outcome.note, outcome.broken.join("; ")),
        Played::Left(reason) | Played::Broken(reason) => reason.clone(),
    }
}

/// One line as soon as a row has ended.
pub(crate) fn line(result: &RowResult) -> String {
    let named = HEAD.iter().zip(cells(result)).skip(1).map(|(name, cell)| format!("{name} {cell}"));
    format!("  {} {}", named.collect::<Vec<_>>().join(", "), remark(result))
}

/// All rows.
pub(crate) fn text(results: &[RowResult]) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(HEAD);
    for result in results {
        table.add_row(cells(result));
    }
    table.to_string()
}

/// What is run; to be asked before the page is written, which is a change itself.
pub(crate) fn commit() -> String {
    let commit = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    let commit = commit.ok().filter(|output| output.status.success());
    commit.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// All rows with what was done and what it showed besides.
pub(crate) fn markdown(results: &[RowResult], seed: u64, commit: &str) -> String {
    let mut page = String::from(
        "# Faults\n\nWhat `make faults` found: each row breaks something while targets are probed, and an oracle holds every\n\
         request that reached them against what Postgres has in the end. `bench/faults` is the program; `docs/FAULTS.md` is\n\
         what it wrote.\n\n\
         LOST are slots with neither a row nor a gap, DUP those with two rows, BLAME healthy targets called down, FALSE-INC\n\
         incidents of healthy targets: none of them may ever be. `missed` are slots without a verdict, which are recorded as such and count\n\
         nowhere; `asked twice` are slots for which a target saw two requests, BLIND the longest that one was not asked beyond\n\
         its interval. Memory is the largest a worker was. Recovery ends with the first check that began after the fault was over and is stored.\n\n",
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) { ", built without optimisation" } else { "" };
    page.push_str(&format!("Seed {seed}, {cores} cores{build}, commit {commit}. {REMARK}\n\n"));
    page.push_str(&text(results));
    page.push_str("\n\n");
    for result in results {
        let (name, fault, remark) = (result.row.name, result.row.fault, remark(result));
        page.push_str(&format!("- **{name}** {fault}. {remark}"));
        if let Played::Ended(outcome) = &result.played
            && !outcome.bars.is_empty()
        {
            page.push_str(&format!(" Passes with {}.", outcome.bars.join(", ")));
        }
        page.push('\n');
    }
    page
}
