//! Whether a PromQL query asks for something that exists.
//!
//! Prometheus answers a query for a misspelt metric or label with nothing, which is no error
//! there and an empty panel in Grafana. So every selector of a query is held against the series
//! there really are.

use std::collections::BTreeMap;

use promql_parser::parser::{Expr, LabelModifier, VectorSelector, parse};

/// The labels of a series; `__name__` is its metric.
pub(crate) type Series = BTreeMap<String, String>;

/// What `query` asks for and is not among `series`, in words; empty if it is all there.
pub(crate) fn complaints(query: &str, series: &[Series]) -> Vec<String> {
    let expr = match parse(query) {
        Ok(expr) => expr,
        Err(error) => return vec![format!("{query}: {error}")],
    };
    let mut complaints = Vec::new();
    selectors(&expr, &[], &mut |selector, labels| {
        complaints.extend(complaint(selector, labels, series).map(|what| format!("{query}: {what}")));
    });
    complaints
}

/// Shows every selector of `expr` with the labels that are asked of it by what it stands in.
fn selectors(expr: &Expr, labels: &[String], see: &mut dyn FnMut(&VectorSelector, &[String])) {
    let and = |more: Option<&LabelModifier>| {
        let more = more.map(|modifier| modifier.labels().labels.clone()).unwrap_or_default();
        [labels, &more].concat()
    };
    match expr {
        Expr::VectorSelector(selector) => see(selector, labels),
        Expr::MatrixSelector(range) => see(&range.vs, labels),
        Expr::Aggregate(aggregate) => {
            selectors(&aggregate.expr, &and(aggregate.modifier.as_ref()), see);
        }
        Expr::Binary(binary) => {
            let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
            selectors(&binary.lhs, &and(matching), see);
            selectors(&binary.rhs, &and(matching), see);
        }
        Expr::Unary(unary) => selectors(&unary.expr, labels, see),
        Expr::Paren(paren) => selectors(&paren.expr, labels, see),
        Expr::Subquery(subquery) => selectors(&subquery.expr, labels, see),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| selectors(argument, labels, see)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => unreachable!("nobody extends the language here"),
    }
}

fn complaint(selector: &VectorSelector, labels: &[String], series: &[Series]) -> Option<String> {
    let Some(name) = &selector.name else { return Some("it names no metric".to_owned()) };
    let of_name: Vec<_> = series.iter().filter(|series| series.get("__name__") == Some(name)).collect();
    if of_name.is_empty() {
        return Some(format!("there is no metric {name}"));
    }
    let matchers = &selector.matchers.matchers;
    let asked = matchers.iter().map(|matcher| &matcher.name).chain(labels);
    if let Some(unknown) = asked.into_iter().find(|label| !of_name.iter().any(|series| series.contains_key(*label))) {
        return Some(format!("{name} has no label {unknown}"));
    }
    let fits = |series: &&Series| {
        matchers.iter().all(|matcher| matcher.is_match(series.get(&matcher.name).map_or("", String::as_str)))
    };
    let none = format!("no {name} has {}", selector.matchers);
    (!of_name.into_iter().any(|series| fits(&series))).then_some(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Series> {
        let series = |labels: &[(&str, &str)]| {
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        vec![
            series(&[("__name__", "calls_total"), ("function", "fibonacci"), ("code", "200")]),
            series(&[("__name__", "calls_total"), ("function", "factorial"), ("code", "500")]),
            series(&[("__name__", "took_seconds_bucket"), ("function", "fibonacci"), ("le", "1")]),
            series(&[("__name__", "targets")]),
        ]
    }

    #[test]
    fn a_query_for_what_exists_is_fine() {
        for query in [
            "targets",
            "sum(1 - targets) or vector(0)",
            r#"sum by (function) (rate(calls_total{function=~".*",code="500"}[1m])) / sum by (function) (rate(calls_total[1m]))"#,
            "histogram_quantile(0.95, sum by (function, le) (rate(took_seconds_bucket[5m])))",
            "max_over_time(sum(calls_total)[5m:1m])",
        ] {
            assert_eq!(complaints(query, &known()), [""; 0], "{query}");
        }
    }

    #[test]
    fn a_misspelt_metric_label_or_value_is_told_wherever_it_stands() {
        for (query, complaint) in [
            ("target", "there is no metric target"),
            ("sum(1 - target) or vector(0)", "there is no metric target"),
            ("rate(call_total[1m])", "there is no metric call_total"),
            ("targets and on (code) calls_total", "targets has no label code"),
            ("sum by (functions) (calls_total)", "calls_total has no label functions"),
            ("max by (function) (sum without (cod) (calls_total))", "calls_total has no label cod"),
            (r#"calls_total{cod!="500"}"#, "calls_total has no label cod"),
            (r#"calls_total{code="400"}"#, r#"no calls_total has code="400""#),
            (r#"calls_total{code="200",function="factorial"}"#, r#"no calls_total has "#),
            (r#"{code="200"}"#, "it names no metric"),
            ("sum(targets", ""),
            ("sum by function targets)", ""),
        ] {
            let complaints = complaints(query, &known());
            assert!(!complaints.is_empty() && complaints[0].contains(complaint), "{query}: {complaints:?}");
        }
    }
}
