//! Connect parameters: parses a query string as Plug does.
//!
//! `a=1` is a string, `a[b]=c` is an object, and `a[]=1&a[]=2` is a list. If a name occurs twice, the last value counts.
//! phoenix.js writes lists as `a[0]=x`. As in Phoenix, this is an object with the key `0`.

use serde_json::{Map, Value};

/// How deep names may nest. A name that nests deeper is used as it is, with its brackets.
const DEPTH_MAX: usize = 16;

/// Parses a query string into a JSON object. Every string is valid: bytes that aren't UTF-8 become replacement characters.
pub(super) fn read(query: &str) -> Map<String, Value> {
    let mut params = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name.is_empty() {
            continue;
        }
        let (first, path) = split(&name);
        put(&mut params, first, &path, Value::from(value.into_owned()));
    }
    params
}

/// Splits `a[b][]` into `a` and `["b", ""]`.
fn split(name: &str) -> (&str, Vec<&str>) {
    let Some((first, rest)) = name.split_once('[') else { return (name, Vec::new()) };
    let Some(inner) = rest.strip_suffix(']').filter(|_| !first.is_empty()) else { return (name, Vec::new()) };
    let path: Vec<&str> = inner.split("][").collect();
    if path.len() > DEPTH_MAX { (name, Vec::new()) } else { (first, path) }
}

fn put(object: &mut Map<String, Value>, key: &str, path: &[&str], value: Value) {
    let Some((next, rest)) = path.split_first() else {
        object.insert(key.to_owned(), value);
        return;
    };
    let slot = object.entry(key).or_insert(Value::Null);
    if next.is_empty() {
        if !slot.is_array() {
            *slot = Value::Array(Vec::new());
        }
        if let Value::Array(list) = slot {
            list.push(element(rest, value));
        }
    } else {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        if let Value::Object(inner) = slot {
            put(inner, next, rest, value);
        }
    }
}

/// Returns the element that `a[][b]=c` adds to the list `a`.
fn element(path: &[&str], value: Value) -> Value {
    match path.split_first() {
        None => value,
        Some((key, rest)) => {
            let mut object = Map::new();
            put(&mut object, key, rest, value);
            Value::Object(object)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_nest_as_in_plug() {
        let cases = [
            ("", json!({})),
            ("&&", json!({})),
            ("a=1&b=x+y%20z&", json!({"a": "1", "b": "x y z"})),
            ("a=1&a=2", json!({"a": "2"})),
            ("a[b]=c&a[d]=e", json!({"a": {"b": "c", "d": "e"}})),
            ("a[]=1&a[]=2", json!({"a": ["1", "2"]})),
            ("a[0]=x", json!({"a": {"0": "x"}})),
            ("a[b][c]=1", json!({"a": {"b": {"c": "1"}}})),
            ("a=1&a[b]=2", json!({"a": {"b": "2"}})),
            ("a[][b]=1&a[][b]=2", json!({"a": [{"b": "1"}, {"b": "2"}]})),
            ("a", json!({"a": ""})),
            ("a[b=1", json!({"a[b": "1"})),
            ("%FF=1", json!({"\u{fffd}": "1"})),
        ];
        for (query, expected) in cases {
            assert_eq!(Value::Object(read(query)), expected, "{query}");
        }
    }

    #[test]
    fn deep_names_stay_flat() {
        let name = format!("a{}", "[x]".repeat(1000));
        assert_eq!(read(&format!("{name}=1")).get(&name), Some(&json!("1")));
    }
}
