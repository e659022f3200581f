//! Reading JSON without building a tree of it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::{Field, Fields, Parsed};

/// Reads an object for the members in `names`. Members that nobody asked for may
/// hold anything, nested however deep. `None` if the text is not JSON.
pub(crate) fn object<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Parsed<Fields<'a, N>>> {
    if !text.starts_with('{') {
        return serde_json::from_str::<IgnoredAny>(text).ok().map(|_| Parsed::Other);
    }
    // Texts are what is nearly always there, and need no second look.
    if let Some(texts) = members::<Text<'a>, N>(text, names) {
        return Some(Parsed::Right(texts.map(|text| text.map(|Text(text)| Field::Text(text)))));
    }
    let mut fields = [const { None }; N];
    for (field, raw) in fields.iter_mut().zip(members::<&RawValue, N>(text, names)?) {
        if let Some(raw) = raw {
            *field = Some(decode(raw)?);
        }
    }
    Some(Parsed::Right(fields))
}

/// The members in `names`, if each of them can be read as a `T`.
fn members<'a, T: Deserialize<'a>, const N: usize>(text: &'a str, names: [&str; N]) -> Option<[Option<T>; N]> {
    let mut json = serde_json::Deserializer::from_str(text);
    let members = Members { names, values: PhantomData }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(members)
}

/// Reads a list, each item as it is written. `None` if the text is not JSON.
pub(crate) fn list(text: &str) -> Option<Parsed<Vec<&str>>> {
    if !text.starts_with('[') {
        return serde_json::from_str::<IgnoredAny>(text).ok().map(|_| Parsed::Other);
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(Parsed::Right(items.into_iter().map(RawValue::get).collect()))
}

fn decode(raw: &RawValue) -> Option<Field<'_>> {
    let raw = raw.get();
    Some(match raw.as_bytes().first()? {
        b'"' => Field::Text(serde_json::from_str::<Text<'_>>(raw).ok()?.0),
        b'-' | b'0'..=b'9' => Field::Number(raw),
        _ => Field::Other,
    })
}

/// A string that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'n, T, const N: usize> {
    names: [&'n str; N],
    values: PhantomData<T>,
}

impl<'a, T: Deserialize<'a>, const N: usize> DeserializeSeed<'a> for Members<'_, T, N> {
    type Value = [Option<T>; N];

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, T: Deserialize<'a>, const N: usize> Visitor<'a> for Members<'_, T, N> {
    type Value = [Option<T>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [const { None }; N];
        while let Some(Text(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(index) => values[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Field<'_>> {
        Some(Field::Text(Cow::Borrowed(text)))
    }

    #[test]
    fn members_are_found_in_any_order_and_the_last_of_a_name_counts() {
        let read = object(r#" {"b": 1e999, "\u0061": "x\ny", "c": [{}], "b": "2", "d": null}"#.trim(), ["a", "b", "c"]);
        let fields = [text("x\ny"), text("2"), Some(Field::Other)];
        assert_eq!(read, Some(Parsed::Right(fields)));
        assert_eq!(object("{}", ["a"]), Some(Parsed::Right([None])));
        assert_eq!(object(r#"{"a": -1e999}"#, ["a"]), Some(Parsed::Right([Some(Field::Number("-1e999"))])));
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        for json in ["[]", "1", "\"x\"", "null", "[1e999]"] {
            assert_eq!(object(json, ["a"]), Some(Parsed::Other), "{json}");
        }
        for other in [
            "",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "NaN",
            "[",
            "nul",
            "{\"a\":NaN}",
            "{\"a\":\"\t\"}",
        ] {
            assert_eq!(object(other, ["a"]), None, "{other}");
        }
    }

    #[test]
    fn depth_is_no_matter_where_nobody_looks() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let read = object(&format!(r#"{{"x": {deep}, "a": {deep}}}"#), ["a"]).map(|_| ());
        assert_eq!(read, Some(()));
        assert!(object(&"[".repeat(100_000), ["a"]).is_none());
        assert_eq!(list(&deep).map(|_| ()), Some(()));
    }
}
