//! Whether an answer of the API is as the API's description says.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Checks a value against a schema of a document. It supports only the keywords that our schemas use.
///
/// # Errors
/// The first place where the value doesn't fit.
pub fn fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<()> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).with_context(|| reference.to_owned())?;
        return fits(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| fits(document, choice, value, place).is_ok()).count();
        ensure!(fitting == 1, "{place}: {value} fits {fitting} of {schema}");
        return Ok(());
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allows =
        |wanted: &Value| wanted == kind || wanted.as_array().is_some_and(|all| all.iter().any(|it| it == kind));
    ensure!(
        schema["type"].is_null() || allows(&schema["type"]),
        "{place}: {value} isn't of the type {}",
        schema["type"]
    );
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, place)?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ensure!(fields.contains_key(name), "{place}: {name} is missing in {value}");
    }
    for (name, field) in fields {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => bail!("{place}: the schema has no {name}"),
            (Value::Null, further) => fits(document, further, field, place)?,
            (schema, _) => fits(document, schema, field, &format!("{place}.{name}"))?,
        }
    }
    Ok(())
}
