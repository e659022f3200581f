//! One monitor as names and values, wherever it was read.

use serde_json::{Map, Value};

/// The fields of a monitor. What is of the wrong kind is noted and reads as absent.
pub(super) struct Record {
    /// Where it stands, such as `monitorList[3]`.
    pub(super) path: String,
    pub(super) fields: Map<String, Value>,
    pub(super) tags: Vec<(String, String)>,
    /// Whether somebody is told when it is down.
    pub(super) notifies: bool,
}

impl Record {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &str, errors: &mut Vec<String>) -> Option<&str> {
        match self.get(name)? {
            Value::String(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            other => self.wrong(name, "a text", other, errors),
        }
    }

    pub(super) fn number(&self, name: &str, errors: &mut Vec<String>) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.is_empty() => None,
            value @ Value::String(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Some(number),
                _ => self.wrong(name, "a number", value, errors),
            },
            other => self.wrong(name, "a number", other, errors),
        }
    }

    /// SQLite has no truth values, so 0 and 1 are some.
    pub(super) fn flag(&self, name: &str, errors: &mut Vec<String>) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            other => self.wrong(name, "true or false", other, errors),
        }
    }

    fn wrong<T>(&self, name: &str, expected: &str, found: &Value, errors: &mut Vec<String>) -> Option<T> {
        errors.push(format!("{}.{name}: expected {expected}, found {}", self.path, kind(found)));
        None
    }
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// `jsonPath` as the database has it: `json_path`.
pub(super) fn column(field: &str) -> String {
    match field {
        "accepted_statuscodes" => return "accepted_statuscodes_json".to_owned(),
        "proxyId" => return "proxy_id".to_owned(),
        _ => {}
    }
    let mut column = String::new();
    for c in field.chars() {
        if c.is_ascii_uppercase() {
            column.push('_');
        }
        column.push(c.to_ascii_lowercase());
    }
    column
}
