//! The keys of one table, each read by itself, so that all that is wrong with them is told.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::fault::Faults;

/// A string, and where it stands.
pub(super) type Text = Spanned<String>;

/// An array of strings.
pub(super) type Texts = Spanned<Vec<Text>>;

/// What is left of a table.
#[derive(Debug)]
pub(super) struct Fields<'t, 'f> {
    table: &'t DeTable<'t>,
    span: Range<usize>,
    known: Vec<&'static str>,
    faults: &'f mut Faults,
}

// ===== impl Fields =====

impl<'t, 'f> Fields<'t, 'f> {
    pub(super) fn new(table: &'t DeTable<'t>, span: Range<usize>, faults: &'f mut Faults) -> Self {
        Self {
            table,
            span,
            known: Vec::new(),
            faults,
        }
    }

    /// The value of a key that may be missing.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key)?.clone();
        take(value, self.faults)
    }

    /// The value of a key that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.must_have(key);
        self.optional(key)
    }

    /// The same for an array of strings, of which every other element is told.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Texts> {
        let value = self.value(key)?;
        let DeValue::Array(elements) = value.get_ref() else {
            let found = found(value.get_ref());
            let what =
                format!("found {found}, expected an array of strings, such as [\"one\", \"two\"]");
            self.faults.add(&value.span(), what);
            return None;
        };
        let texts = elements
            .iter()
            .filter_map(|element| take(element.clone(), self.faults))
            .collect();
        Some(Spanned::new(value.span(), texts))
    }

    pub(super) fn required_texts(&mut self, key: &'static str) -> Option<Texts> {
        self.must_have(key);
        self.texts(key)
    }

    /// One string, or an array of them.
    pub(super) fn text_or_texts(&mut self, key: &'static str) -> Option<Texts> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.texts(key),
            _ => {
                let text: Text = self.optional(key)?;
                Some(Spanned::new(text.span(), vec![text]))
            }
        }
    }

    /// The same where none is as good as an empty one.
    pub(super) fn listed(&mut self, key: &'static str) -> Vec<Text> {
        self.texts(key).map(Spanned::into_inner).unwrap_or_default()
    }

    /// A table within this one.
    pub(super) fn table(
        &mut self,
        key: &'static str,
    ) -> Option<(&'t Spanned<DeValue<'t>>, &mut Faults)> {
        let value = self.value(key)?;
        Some((value, self.faults))
    }

    /// Something else is wrong with it.
    pub(super) fn fault(&mut self, at: &Range<usize>, what: String) {
        self.faults.add(at, what);
    }

    /// Tells of every key that nobody has asked for.
    pub(super) fn end(self) {
        let known: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
        let known = match &*known {
            [only] => only.clone(),
            all => format!("one of {}", all.join(", ")),
        };
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let name = name.escape_debug();
                let what = format!("found key `{name}`, expected {known}");
                self.faults.add(&key.span(), what);
            }
        }
    }

    fn must_have(&mut self, key: &'static str) {
        if !self.table.contains_key(key) {
            let what = format!("found no `{key}`, expected one");
            self.faults.add(&self.span, what);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.table.get(key)
    }
}

/// One value, if it is of its type.
pub(super) fn take<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    faults: &mut Faults,
) -> Option<T> {
    let span = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => Some(value),
        Err(error) => {
            faults.value(&error, &span);
            None
        }
    }
}

/// What a value is, in words. The values of strings are not shown: one of them may be a key in the
/// wrong place.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => format!("integer `{number}`"),
        DeValue::Boolean(truth) => format!("boolean `{truth}`"),
        DeValue::Array(_) => "an array".to_owned(),
        other => format!("a {}", other.type_str()),
    }
}
