//! Durations as Go and Prometheus write them.

use std::time::Duration;

/// The units with their length in nanoseconds; those that begin like another one first.
const UNITS: [(&str, f64); 11] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
    ("y", 31_536_000e9),
];

/// Reads `1m30s`, `500ms`, `1.5h` or `1d`, to the microsecond; `None` for anything else. Only 0 needs no unit.
///
/// Source: Go, `time.ParseDuration`; Prometheus, `model.ParseDuration` (which adds `d`, `w` and `y`).
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, scale) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        nanos += number * scale;
    }
    // 100 years, which no field of ours comes near.
    (!text.is_empty() && nanos < 100.0 * 31_536_000e9).then(|| Duration::from_micros((nanos / 1e3).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_and_prometheus_are_read() {
        let cases = [
            ("0", Some(0)),
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("500ms", Some(500)),
            ("100us", Some(0)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("30", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("s", None),
            ("1x", None),
            ("99999999999999999999y", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|read| read.as_millis()), expected, "{text}");
        }
        assert_eq!(parse("100us"), Some(Duration::from_micros(100)));
    }
}
