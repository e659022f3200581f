//! `relabel_configs:`, as Prometheus applies them.
//!
//! Source: Prometheus, "Configuration", `<relabel_config>`.

use std::collections::BTreeMap;

use regex::Regex;
use settings::file::{Fields, Report};

use crate::source::Typed;

/// Names and values; those that begin with `__` are gone after relabelling.
pub(super) type Labels = BTreeMap<String, String>;

/// One rule.
pub(super) struct Rule {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    pub(super) target_label: String,
    replacement: String,
}

enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Rule {
    /// Reads a rule, or says in what way it cannot be followed.
    pub(super) fn read(fields: &Fields, report: &mut Report) -> Result<Self, String> {
        let action = match fields.text("action", report).unwrap_or("replace").to_lowercase().as_str() {
            "replace" => Action::Replace,
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" => Action::KeepEqual,
            "dropequal" => Action::DropEqual,
            "labelmap" => Action::LabelMap,
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase,
            "uppercase" => Action::Uppercase,
            other => return Err(format!("has the action {other:?}, which this importer cannot follow")),
        };
        let regex = fields.text("regex", report).unwrap_or("(.*)");
        let regex =
            Regex::new(&format!("^(?s:{regex})$")).map_err(|_| "has a regex that is not understood".to_owned())?;
        Ok(Self {
            action,
            source_labels: fields.texts("source_labels", report).into_iter().map(|(_, name)| name.to_owned()).collect(),
            // Nothing is a separator, too.
            separator: fields.text("separator", report).unwrap_or(";").to_owned(),
            regex,
            target_label: fields.text("target_label", report).unwrap_or_default().to_owned(),
            replacement: fields.text("replacement", report).unwrap_or("$1").to_owned(),
        })
    }

    /// Changes the labels; `false` if the target is dropped.
    fn apply(&self, labels: &mut Labels) -> bool {
        let values = self.source_labels.iter().map(|name| labels.get(name).map_or("", String::as_str));
        let value = values.collect::<Vec<_>>().join(&self.separator);
        let target = || labels.get(&self.target_label).map_or("", String::as_str);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return value == target(),
            Action::DropEqual => return value != target(),
            Action::Replace => {
                if let Some(found) = self.regex.captures(&value) {
                    let (mut label, mut replaced) = (String::new(), String::new());
                    found.expand(&self.target_label, &mut label);
                    found.expand(&self.replacement, &mut replaced);
                    set(labels, label, replaced);
                }
            }
            Action::Lowercase => set(labels, self.target_label.clone(), value.to_lowercase()),
            Action::Uppercase => set(labels, self.target_label.clone(), value.to_uppercase()),
            Action::LabelMap => {
                let matching = labels.iter().filter_map(|(name, value)| {
                    let found = self.regex.captures(name)?;
                    let mut label = String::new();
                    found.expand(&self.replacement, &mut label);
                    Some((label, value.clone()))
                });
                for (label, value) in matching.collect::<Vec<_>>() {
                    set(labels, label, value);
                }
            }
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
        }
        true
    }
}

/// An empty value is none.
fn set(labels: &mut Labels, name: String, value: String) {
    // What expands without bound is no label.
    if value.is_empty() {
        labels.remove(&name);
    } else if !name.is_empty() && value.len() <= 64 * 1024 {
        labels.insert(name, value);
    }
}

/// The labels after all rules; `None` if the target is dropped.
pub(super) fn apply(rules: &[Rule], mut labels: Labels) -> Option<Labels> {
    rules.iter().all(|rule| rule.apply(&mut labels)).then_some(labels)
}
