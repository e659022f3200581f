//! What can be looked at.

use chrono::Utc;
use serde::Serialize;
use serde_json::{Map, Value};

use super::hub::SLOW;
use crate::error::ApiError;
use crate::overview::Query;
use crate::routes::targets;
use crate::state::{State, within};

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ViewName {
    /// Kept current from what is stored, batch by batch.
    Overview,
    /// Read anew, at most once a second.
    Page(Page),
}

/// What one page shows. Another kind of page is a variant here, and one of the messages that
/// a client may send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    /// A target, by its key.
    Target(String),
    /// A page of the table.
    Table(Query),
}

impl ViewName {
    /// The members that name it in a frame, with the comma before.
    pub(super) fn members(&self) -> String {
        match self {
            Self::Overview => r#","view":"overview""#.to_owned(),
            Self::Page(Page::Target(key)) => format!(r#","view":"target","key":{}"#, Value::from(key.as_str())),
            Self::Page(Page::Table(query)) => {
                format!(r#","view":"table","query":{}"#, Value::Object(members(query)))
            }
        }
    }
}

impl Page {
    /// What it shows now.
    ///
    /// # Errors
    /// 404 where there is nothing of this name; 503 while Postgres is away.
    pub(super) async fn read(&self, state: &State) -> Result<Map<String, Value>, ApiError> {
        match self {
            Self::Target(key) => {
                let mut connection = state.database().await?;
                Ok(members(&targets::detail(&mut connection, key, Utc::now()).await?))
            }
            Self::Table(query) => {
                let (sheet, query) = (within(SLOW, state.hub.sheet()).await?, query.clone());
                // Beside the runtime: it may take a few milliseconds.
                let shown = tokio::task::spawn_blocking(move || members(&sheet.table(&query)));
                shown.await.map_err(|_| ApiError::Unavailable("the api stops"))
            }
        }
    }
}

/// The members of what is shown, which is always an object with plain names.
pub(super) fn members(data: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(data) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
