//! One member after the other.

use serde_json::{Value, map::Entry};

use super::Object;

/// Whether an event or reply is an error.
pub(super) fn is_error(object: &Object) -> bool {
    let named = |name| object.get(name).and_then(Value::as_str) == Some("error");
    object.get("error").is_some_and(|error| !is_nothing(error)) || named("type") || named("object")
}

/// `null`, `""`, `[]` and `{}` say nothing.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Sets a member, unless that would put nothing in the place of something.
pub(super) fn last(name: String, value: Value, into: &mut Object) {
    match into.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value);
        }
        Entry::Occupied(mut entry) => {
            if !is_nothing(&value) {
                entry.insert(value);
            }
        }
    }
}

/// Sets a member that nothing but nothing was in.
pub(super) fn first(name: String, value: Value, into: &mut Object) {
    match into.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value);
        }
        Entry::Occupied(mut entry) => {
            if is_nothing(entry.get()) {
                entry.insert(value);
            }
        }
    }
}

/// Adds text to text and elements to elements; of all else, the last counts.
pub(super) fn join(name: String, value: Value, into: &mut Object) {
    match (into.get_mut(&name), value) {
        (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
        (Some(Value::Array(elements)), Value::Array(more)) => elements.extend(more),
        (_, value) => last(name, value, into),
    }
}

/// Adds to each list of an object that of the same name.
pub(super) fn join_lists(name: String, value: Value, into: &mut Object) {
    match (into.get_mut(&name), value) {
        (Some(Value::Object(lists)), Value::Object(more)) => {
            for (name, list) in more {
                match list {
                    Value::Array(_) => join(name, list, lists),
                    other => last(name, other, lists),
                }
            }
        }
        (_, value) => last(name, value, into),
    }
}

/// A small number that numbers something.
pub(super) fn index(object: &Object) -> Option<u64> {
    object.get("index").and_then(Value::as_u64)
}

pub(super) fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}
