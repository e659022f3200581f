//! uptime-kuma: the monitors of a backup (JSON, of version 1) or of its database (SQLite, versions 1 and 2).
//!
//! Both become the same records, with the names of the database's columns.
//!
//! Source: uptime-kuma, `server/model/monitor.js` and `db/knex_migrations`.

mod backup;
mod database;
mod monitor;
mod record;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use settings::ConfigErrors;
use settings::file::MAX_BYTES;

use crate::Imported;
use crate::target::Output;
use record::Record;

/// What an SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What was read of an instance of uptime-kuma.
#[derive(Default)]
struct Instance {
    monitors: Vec<Record>,
    /// What else is in it, and what to do instead.
    others: Vec<(&'static str, String)>,
}

/// Imports the backup or database of an uptime-kuma at `path`. A database is only read.
///
/// # Errors
/// The file is neither, cannot be read, or a field has the wrong type.
pub fn uptime_kuma(path: &Path) -> Result<Imported, ConfigErrors> {
    let name = path.display().to_string();
    let cannot_read = |error: std::io::Error| ConfigErrors::whole(settings::file::cannot_read(&name, &error));
    let mut start = Vec::new();
    let mut file = File::open(path).map_err(cannot_read)?;
    file.by_ref().take(SQLITE.len() as u64).read_to_end(&mut start).map_err(cannot_read)?;
    let instance = if start == SQLITE {
        database::read(&name, path)?
    } else {
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut start).map_err(cannot_read)?;
        backup::read(&name, &start)?
    };
    let mut output = Output::default();
    let mut errors = Vec::new();
    monitor::monitors(&instance.monitors, &mut output, &mut errors);
    if !errors.is_empty() {
        let lines: Vec<_> = errors.into_iter().map(|error| format!("{name}: {error}")).collect();
        return Err(ConfigErrors::whole(lines.join("\n")));
    }
    for (what, advice) in instance.others {
        output.notes.not_carried(&crate::notes::Place::new("the whole file", 0), what, advice);
    }
    Ok(output.finish("uptime-kuma", &name))
}

#[cfg(test)]
mod tests;
