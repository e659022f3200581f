//! The fleet as the first page shows it: kept in memory, brought up to date by the
//! batches that are stored, so that its cost depends on what happens, not on how many look.

mod aged;
mod attention;
mod fleet;
mod groups;
mod health;
mod known;
mod list;
mod map;
mod series;
mod sheet;
mod table;
mod types;

pub(crate) use fleet::Fleet;
pub(crate) use map::Map;
pub(crate) use sheet::Sheet;
pub(crate) use table::{Query, Table};
pub(crate) use types::Overview;
