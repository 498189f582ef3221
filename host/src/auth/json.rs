//! Converts a token's data from Erlang terms to JSON, and from JSON to terms.
//!
//! | Erlang | JSON |
//! | --- | --- |
//! | a binary of UTF-8 | string |
//! | `nil`, `true`, `false` | `null`, `true`, `false` |
//! | another atom | string; only read, never written |
//! | an integer within i64 or u64, a float | number |
//! | a list, a charlist | array |
//! | a tuple | array; only read, never written |
//! | a map whose keys are binaries, atoms or integers | object; its keys are written as binaries |
//!
//! So a Phoenix application gets string keys from a token that is signed here: `%{"id" => 7}`. A map with two keys that are
//! the same in JSON (`:id` and `"id"`) is refused, and so is any other term.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::term::{Term, VERSION, tag};

/// The maximum number of nested levels of a token's data, for reading and for writing.
pub const DEPTH_MAX: usize = 64;

/// The error for a value that can't be written as a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooDeepOrLong;

/// Converts a term to JSON. Returns none if JSON can't represent the term.
pub(super) fn to_json(term: &Term<'_>) -> Option<Value> {
    Some(match term {
        Term::Atom(name) => match name.as_str() {
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::from(name.as_str()),
        },
        Term::Integer(number) => Value::Number(Number::from_i128(*number)?),
        Term::Float(number) => Value::Number(Number::from_f64(*number)?),
        Term::Binary(bytes) => Value::from(std::str::from_utf8(bytes).ok()?),
        Term::List(terms) | Term::Tuple(terms) => Value::Array(terms.iter().map(to_json).collect::<Option<_>>()?),
        Term::Map(pairs) => {
            let mut object = Map::new();
            for (key, value) in pairs {
                if object.insert(to_key(key)?, to_json(value)?).is_some() {
                    return None;
                }
            }
            Value::Object(object)
        }
    })
}

fn to_key(term: &Term<'_>) -> Option<String> {
    match term {
        Term::Atom(name) => Some(name.clone()),
        Term::Integer(number) => Some(number.to_string()),
        Term::Binary(bytes) => Some(std::str::from_utf8(bytes).ok()?.to_owned()),
        Term::Float(_) | Term::List(_) | Term::Tuple(_) | Term::Map(_) => None,
    }
}

/// Writes `{data, signed_at, max_age}` exactly as `term_to_binary` of OTP 26 and later does. The only difference is the order
/// of the keys in a map with more than 32 keys: Erlang writes them in the order of their hashes. The order doesn't matter to a
/// reader.
pub(super) fn payload(data: &Value, signed_at: i64, max_age: Option<u64>) -> Result<Vec<u8>, TooDeepOrLong> {
    let mut out = vec![VERSION, tag::SMALL_TUPLE, 3];
    write(&mut out, data, DEPTH_MAX)?;
    integer(&mut out, signed_at.into());
    match max_age {
        Some(seconds) => integer(&mut out, seconds.into()),
        None => atom(&mut out, "infinity"),
    }
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), TooDeepOrLong> {
    let depth = depth.checked_sub(1).ok_or(TooDeepOrLong)?;
    match value {
        Value::Null => atom(out, "nil"),
        Value::Bool(true) => atom(out, "true"),
        Value::Bool(false) => atom(out, "false"),
        Value::Number(number) => self::number(out, number)?,
        Value::String(text) => binary(out, text)?,
        Value::Array(values) => list(out, values, depth)?,
        Value::Object(object) => {
            out.push(tag::MAP);
            length(out, object.len())?;
            let mut pairs: Vec<_> = object.iter().collect();
            // Sorted in the order of Erlang's terms, because the object may have another order.
            pairs.sort_by_key(|(key, _)| *key);
            for (key, value) in pairs {
                binary(out, key)?;
                write(out, value, depth)?;
            }
        }
    }
    Ok(())
}

fn list(out: &mut Vec<u8>, values: &[Value], depth: usize) -> Result<(), TooDeepOrLong> {
    if values.is_empty() {
        out.push(tag::NIL);
        return Ok(());
    }
    // A string of Erlang is a list of bytes, and any list of bytes has this shorter form.
    let byte = |value: &Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
    if let (Ok(length), Some(bytes)) =
        (u16::try_from(values.len()), values.iter().map(byte).collect::<Option<Vec<u8>>>())
    {
        out.push(tag::STRING);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&bytes);
        return Ok(());
    }
    out.push(tag::LIST);
    length(out, values.len())?;
    values.iter().try_for_each(|value| write(out, value, depth))?;
    out.push(tag::NIL);
    Ok(())
}

fn number(out: &mut Vec<u8>, number: &Number) -> Result<(), TooDeepOrLong> {
    if let Some(number) = number.as_i128() {
        integer(out, number);
    } else {
        out.push(tag::NEW_FLOAT);
        out.extend_from_slice(&number.as_f64().ok_or(TooDeepOrLong)?.to_be_bytes());
    }
    Ok(())
}

fn integer(out: &mut Vec<u8>, number: i128) {
    if let Ok(byte) = u8::try_from(number) {
        out.extend_from_slice(&[tag::SMALL_INTEGER, byte]);
    } else if let Ok(number) = i32::try_from(number) {
        out.push(tag::INTEGER);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        let digits = number.unsigned_abs().to_le_bytes();
        let length = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        // The cast is safe: an i128 has at most 16 digits of a byte each.
        out.extend_from_slice(&[tag::SMALL_BIG, length as u8, u8::from(number < 0)]);
        out.extend_from_slice(&digits[..length]);
    }
}

fn atom(out: &mut Vec<u8>, name: &'static str) {
    // The cast is safe: the longest atom that is written has eight letters.
    out.extend_from_slice(&[tag::SMALL_ATOM_UTF8, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
}

fn binary(out: &mut Vec<u8>, text: &str) -> Result<(), TooDeepOrLong> {
    out.push(tag::BINARY);
    length(out, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn length(out: &mut Vec<u8>, length: usize) -> Result<(), TooDeepOrLong> {
    out.extend_from_slice(&u32::try_from(length).map_err(|_| TooDeepOrLong)?.to_be_bytes());
    Ok(())
}

impl fmt::Display for TooDeepOrLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it nests deeper than {DEPTH_MAX} levels, or is too long")
    }
}
