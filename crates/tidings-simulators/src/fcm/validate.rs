//! Whether JSON fits the schema, with Google's wording where it does not.

use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::schema::{Field, Kind};

/// Checks `object`, which stands at `path` (empty for the request itself).
pub(super) fn object(
    object: &Map<String, Value>,
    fields: &'static [Field],
    path: &str,
) -> Result<(), Refusal> {
    for (name, value) in object {
        let Some(field) = fields.iter().find(|field| is_name_of(name, field.name)) else {
            return Err(unknown_name(name, path));
        };
        // As everywhere in protocol buffers' JSON, null stands for "not set".
        if !value.is_null() {
            self::value(value, &field.kind, &join(path, field.name))?;
        }
    }
    Ok(())
}

/// The value of `name`, written in either case, unless it is null.
pub(super) fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = object.get(name);
    let value =
        exact.or_else(|| object.iter().find(|(key, _)| is_name_of(key, name)).map(|(_, v)| v));
    value.filter(|value| !value.is_null())
}

/// The length of a duration such as `3.5s`, if it is one.
pub(super) fn duration_secs(text: &str) -> Option<f64> {
    let digits = text.strip_suffix('s')?;
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fits = all_digits(unsigned) && all_digits(decimals) && decimals.len() <= 9;
    fits.then(|| digits.parse().ok()).flatten()
}

fn value(value: &Value, kind: &Kind, path: &str) -> Result<(), Refusal> {
    let fits = match kind {
        Kind::Text => value.is_string(),
        Kind::Flag => value.is_boolean(),
        Kind::Number => {
            value.is_number() || value.as_str().is_some_and(|text| text.parse::<f64>().is_ok())
        }
        Kind::Duration => value.as_str().is_some_and(|text| duration_secs(text).is_some()),
        Kind::Choice(_, names) => value
            .as_str()
            .is_some_and(|text| names.iter().any(|name| name.eq_ignore_ascii_case(text))),
        Kind::Struct => value.is_object(),
        Kind::TextMap => return text_map(value, path),
        Kind::TextList => return list(value, &Kind::Text, path),
        Kind::DurationList => return list(value, &Kind::Duration, path),
        Kind::Object(fields) => match value.as_object() {
            Some(inner) => return object(inner, fields, path),
            None => false,
        },
    };
    if fits { Ok(()) } else { Err(invalid_value(value, kind, path)) }
}

fn text_map(value: &Value, path: &str) -> Result<(), Refusal> {
    let map = value.as_object().ok_or_else(|| invalid_value(value, &Kind::TextMap, path))?;
    for (index, entry) in map.values().enumerate() {
        if !entry.is_string() {
            let path = format!("{path}[{index}].value");
            return Err(invalid_value(entry, &Kind::Text, &path));
        }
    }
    Ok(())
}

fn list(value: &Value, kind: &Kind, path: &str) -> Result<(), Refusal> {
    let list = value.as_array().ok_or_else(|| invalid_value(value, kind, path))?;
    for (index, entry) in list.iter().enumerate() {
        self::value(entry, kind, &format!("{path}[{index}]"))?;
    }
    Ok(())
}

fn invalid_value(value: &Value, kind: &Kind, path: &str) -> Refusal {
    let kind = match kind {
        Kind::Text | Kind::TextList => "TYPE_STRING",
        Kind::Flag => "TYPE_BOOL",
        Kind::Number => "TYPE_INT32",
        Kind::Duration | Kind::DurationList => "type.googleapis.com/google.protobuf.Duration",
        Kind::Choice(name, _) => name,
        Kind::Struct => "type.googleapis.com/google.protobuf.Struct",
        Kind::TextMap | Kind::Object(_) => "TYPE_MESSAGE",
    };
    Refusal::invalid_json(path, format!("Invalid value at '{path}' ({kind}), {value}"))
}

fn unknown_name(name: &str, path: &str) -> Refusal {
    let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
    Refusal::invalid_json(
        path,
        format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
        ),
    )
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether `key` is `name` (snake case) or its camel-case form.
fn is_name_of(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    let mut camel = key.chars();
    let mut raise = false;
    for letter in name.chars() {
        if letter == '_' {
            raise = true;
            continue;
        }
        let expected = if raise { letter.to_ascii_uppercase() } else { letter };
        raise = false;
        if camel.next() != Some(expected) {
            return false;
        }
    }
    camel.next().is_none()
}
