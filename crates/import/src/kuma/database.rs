//! `kuma.db`, read without changing it.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Number, Value};
use settings::ConfigErrors;

use super::Instance;
use super::record::Record;

/// More than this is no list of monitors that somebody keeps by hand.
const MAX_MONITORS: usize = 100_000;

pub(super) fn read(name: &str, path: &Path) -> Result<Instance, ConfigErrors> {
    let failed = |error: rusqlite::Error| {
        ConfigErrors::whole(format_args!("{name}: cannot be read as a database of uptime-kuma: {error}"))
    };
    let database = open(path).map_err(failed)?;
    let tables = tables(&database).map_err(failed)?;
    if !tables.iter().any(|table| table == "monitor") {
        return Err(ConfigErrors::whole(format_args!(
            "{name}: has no table `monitor`, so it is no database of uptime-kuma"
        )));
    }
    let mut instance = Instance { monitors: monitors(&database).map_err(failed)?, ..Instance::default() };
    if instance.monitors.len() > MAX_MONITORS {
        return Err(ConfigErrors::whole(format_args!("{name}: has over {MAX_MONITORS} monitors")));
    }
    let has = |table: &str| tables.iter().any(|name| name == table);
    if has("tag") && has("monitor_tag") {
        tags(&database, &mut instance.monitors).map_err(failed)?;
    }
    if has("monitor_notification") {
        notifications(&database, &mut instance.monitors).map_err(failed)?;
    }
    for (table, what, advice) in [
        ("notification", "notifications", super::monitor::NOTIFICATIONS),
        ("proxy", "proxies", super::monitor::PROXY),
        ("maintenance", "maintenance", "lookout has no maintenance windows; silence the alerts for that time"),
        ("status_page", "status_page", "lookout has one dashboard of all targets; labels group them"),
    ] {
        if has(table) {
            let count: i64 =
                database.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).map_err(failed)?;
            if count > 0 {
                instance.others.push((what, advice.to_owned()));
            }
        }
    }
    Ok(instance)
}

/// Opens the database so that nothing is written beside it if that can be.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(PathBuf::from(log)).is_ok_and(|log| log.len() > 0);
    // With a log that is not in the database yet, SQLite must read both and needs its locks.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let uri = url::Url::from_file_path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        .map(|url| format!("{url}{}", if has_log { "" } else { "?immutable=1" }));
    let database = match uri {
        Ok(uri) => Connection::open_with_flags(uri, flags)?,
        Err(()) => Connection::open_with_flags(path, flags)?,
    };
    // A hostile file has no functions run by its views and triggers.
    database.pragma_update(None, "trusted_schema", false)?;
    database.pragma_update(None, "cell_size_check", true)?;
    Ok(database)
}

fn tables(database: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = database.prepare("select name from sqlite_master where type = 'table'")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Every column there is: versions differ in them.
fn monitors(database: &Connection) -> rusqlite::Result<Vec<Record>> {
    // Not from the statement itself, whose names must be UTF-8 or rusqlite panics.
    let mut statement = database.prepare("select name from pragma_table_info('monitor') order by cid")?;
    let mut rows = statement.query([])?;
    let mut columns = Vec::new();
    while let Some(row) = rows.next()? {
        columns.push(value(row.get_ref(0)?).as_str().unwrap_or_default().to_owned());
    }
    let mut statement = database.prepare("select * from monitor order by id limit ?1")?;
    columns.truncate(statement.column_count());
    let mut rows = statement.query([MAX_MONITORS as i64 + 1])?;
    let mut monitors = Vec::new();
    while let Some(row) = rows.next()? {
        let mut fields = Map::new();
        for (index, column) in columns.iter().enumerate() {
            fields.insert(column.clone(), value(row.get_ref(index)?));
        }
        let id = fields.get("id").map(Value::to_string).unwrap_or_default();
        monitors.push(Record { path: format!("monitor {id}"), fields, tags: Vec::new(), notifies: false });
    }
    Ok(monitors)
}

fn value(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}

fn tags(database: &Connection, monitors: &mut [Record]) -> rusqlite::Result<()> {
    let mut statement = database.prepare(
        "select monitor_tag.monitor_id, tag.name, monitor_tag.value
         from monitor_tag join tag on tag.id = monitor_tag.tag_id
         order by monitor_tag.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |index: usize| row.get_ref(index).map(|text| value(text).as_str().unwrap_or_default().to_owned());
        let tag = (text(1)?, text(2)?);
        if let Some(monitor) = with_id(monitors, &value(row.get_ref(0)?)) {
            monitor.tags.push(tag);
        }
    }
    Ok(())
}

fn notifications(database: &Connection, monitors: &mut [Record]) -> rusqlite::Result<()> {
    let mut statement = database.prepare("select distinct monitor_id from monitor_notification")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(monitor) = with_id(monitors, &value(row.get_ref(0)?)) {
            monitor.notifies = true;
        }
    }
    Ok(())
}

/// The monitors are in the order of their ids.
fn with_id<'m>(monitors: &'m mut [Record], id: &Value) -> Option<&'m mut Record> {
    let id = id.as_i64()?;
    let id_of = |monitor: &Record| monitor.get("id").and_then(Value::as_i64).unwrap_or(i64::MAX);
    let index = monitors.binary_search_by_key(&id, id_of).ok()?;
    monitors.get_mut(index)
}
