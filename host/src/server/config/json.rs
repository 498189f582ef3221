//! A plugin's configuration as the JSON that it reads.
//!
//! TOML has values that JSON hasn't: a date becomes its text, and a number that is none is refused.

use anyhow::{Result, bail};
use serde_json::{Map, Number, Value};

/// The JSON of a table that stands at this path of the configuration.
///
/// # Errors
/// Where a number is `nan` or `inf`. Names its path.
pub(super) fn json(table: &toml::Table, path: &str) -> Result<Value> {
    let field = |(key, value): (&String, &toml::Value)| Ok((key.clone(), of(value, &below(path, key))?));
    Ok(Value::Object(table.iter().map(field).collect::<Result<Map<_, _>>>()?))
}

fn of(value: &toml::Value, path: &str) -> Result<Value> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        // As TOML writes it: RFC 3339, or the part of it that was given.
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => number.into(),
            None => bail!(
                "`{path}` is {number}, which JSON doesn't have, and plugins read JSON: give another number, or text"
            ),
        },
        toml::Value::Array(list) => {
            let item = |(at, value): (usize, &toml::Value)| of(value, &format!("{path}[{at}]"));
            list.iter().enumerate().map(item).collect::<Result<_>>()?
        }
        toml::Value::Table(table) => json(table, path)?,
    })
}

/// A key below a path, in quotation marks where TOML needs them.
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
    fn dates_are_text_wherever_they_stand() -> Result<()> {
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
    fn a_number_that_is_none_is_refused_with_its_path() {
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
