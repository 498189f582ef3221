//! Converts a plugin's configuration from TOML to the JSON that the plugin reads.
//!
//! JSON has fewer types of values than TOML: a date becomes text, and `nan` and `inf` are refused.

use anyhow::{Result, bail};
use serde_json::{Map, Number, Value};

/// Converts a table to JSON. `path` is the table's place in the configuration, for errors.
///
/// # Errors
/// Returns an error with the path of a number that is `nan` or `inf`.
pub(super) fn json(table: &toml::Table, path: &str) -> Result<Value> {
    let field = |(key, value): (&String, &toml::Value)| Ok((key.clone(), of(value, &below(path, key))?));
    Ok(Value::Object(table.iter().map(field).collect::<Result<Map<_, _>>>()?))
}

fn of(value: &toml::Value, path: &str) -> Result<Value> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        // In TOML's notation: RFC 3339, or a part of it for a date or a time alone.
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => number.into(),
            None => bail!(
                "`{path}` is {number}, which JSON doesn't support, and plugins read JSON: use another number, or text"
            ),
        },
        toml::Value::Array(list) => {
            let item = |(at, value): (usize, &toml::Value)| of(value, &format!("{path}[{at}]"));
            list.iter().enumerate().map(item).collect::<Result<_>>()?
        }
        toml::Value::Table(table) => json(table, path)?,
    })
}

/// Returns the path of a key in a table. The key is in quotation marks if TOML requires them.
fn below(path: &str, key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_bare { format!("{path}.{key}") } else { format!("{path}.{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value> {
        json(&toml::from_str(text)?, "plugins.chat.config")
    }

    #[test]
    fn dates_become_text_at_any_depth() -> Result<()> {
        let text = r#"
            opens = 2026-11-28
            at = 07:32:00
            local = 2026-11-28T07:32:00.5
            since = 2026-11-28T07:32:00-01:30
            nested = { list = [1979-05-27, [{ deep = 1979-05-27T00:32:00Z }]] }
            other = [true, 1, -1.5, 9_223_372_036_854_775_807, "text"]
            "#;
        let expected = serde_json::json!({
            "opens": "2026-11-28",
            "at": "07:32:00",
            "local": "2026-11-28T07:32:00.5",
            "since": "2026-11-28T07:32:00-01:30",
            "nested": { "list": ["1979-05-27", [{ "deep": "1979-05-27T00:32:00Z" }]] },
            "other": [true, 1, -1.5, i64::MAX, "text"],
        });
        assert_eq!(read(text)?, expected);
        Ok(())
    }

    #[test]
    fn nan_and_inf_are_refused_with_their_path() {
        let cases = [
            ("speed = nan", "`plugins.chat.config.speed` is NaN"),
            ("speed = -inf", "`plugins.chat.config.speed` is -inf"),
            ("a = { \"b c\" = [1.0, { d = inf }] }", "`plugins.chat.config.a.\"b c\"[1].d` is inf"),
        ];
        for (text, expected) in cases {
            let error = read(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
