//! The JSON that version 1 exports under Settings, Backup.

use serde_json::{Map, Value};
use settings::ConfigErrors;
use settings::file::utf8;

use super::Instance;
use super::record::{Record, column, kind};

pub(super) fn read(name: &str, text: &[u8]) -> Result<Instance, ConfigErrors> {
    let text = utf8(name, text)?;
    if text.trim().is_empty() {
        return Err(ConfigErrors::whole(format_args!("{name}: is empty")));
    }
    let root: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // Its message ends with the place, and shows nothing of the text.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        ConfigErrors::whole(format_args!(
            "{name}:{line}:{column}: neither an SQLite database nor valid JSON: {message}"
        ))
    })?;
    let wrong = |what: &str| ConfigErrors::whole(format_args!("{name}: {what}"));
    let Value::Object(mut root) = root else {
        return Err(wrong(&format!(
            "expected a backup of uptime-kuma, a mapping with monitorList, found {}",
            kind(&root)
        )));
    };
    let monitors = match root.remove("monitorList") {
        Some(Value::Array(monitors)) => monitors,
        // As the browser keeps it: by id.
        Some(Value::Object(monitors)) => {
            let mut monitors: Vec<_> = monitors.into_iter().collect();
            monitors.sort_by_key(|(id, _)| id.parse::<i64>().unwrap_or(i64::MAX));
            monitors.into_iter().map(|(_, monitor)| monitor).collect()
        }
        Some(other) => return Err(wrong(&format!("monitorList: expected a list, found {}", kind(&other)))),
        None => return Err(wrong("no monitorList, so this is no backup of uptime-kuma")),
    };
    let mut instance = Instance::default();
    for (index, monitor) in monitors.into_iter().enumerate() {
        let path = format!("monitorList[{index}]");
        let Value::Object(fields) = monitor else {
            return Err(wrong(&format!("{path}: expected a mapping, found {}", kind(&monitor))));
        };
        instance.monitors.push(record(path, fields).map_err(|problem| wrong(&problem))?);
    }
    for (key, value) in root {
        let is_empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => true,
        };
        let known = match key.as_str() {
            "version" => continue,
            _ if is_empty => continue,
            "notificationList" => ("notifications", super::monitor::NOTIFICATIONS.to_owned()),
            "proxyList" => ("proxies", super::monitor::PROXY.to_owned()),
            other => ("another list", format!("{other:?} is nothing this importer knows")),
        };
        instance.others.push(known);
    }
    Ok(instance)
}

fn record(path: String, fields: Map<String, Value>) -> Result<Record, String> {
    let mut tags = Vec::new();
    match fields.get("tags") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for (index, tag) in list.iter().enumerate() {
                let text = |name: &str| match tag.get(name) {
                    Some(Value::String(text)) => Ok(text.clone()),
                    None | Some(Value::Null) => Ok(String::new()),
                    Some(other) => Err(format!("{path}.tags[{index}].{name}: expected a text, found {}", kind(other))),
                };
                tags.push((text("name")?, text("value")?));
            }
        }
        Some(other) => return Err(format!("{path}.tags: expected a list, found {}", kind(other))),
    }
    let notified = fields.get("notificationIDList").and_then(Value::as_object);
    let notifies = notified.is_some_and(|list| list.values().any(|is_told| is_told == &Value::Bool(true)));
    let fields = fields.into_iter().map(|(name, value)| (column(&name), value)).collect();
    Ok(Record { path, fields, tags, notifies })
}
