//! What a key must tell apart, the long way round: a tree of every value, and texts made of one.

use std::{collections::BTreeMap, fmt};

use proptest::prelude::*;
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON value up to what does not matter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    String(String),
    Array(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
}

/// Why a text has no tree.
#[derive(Debug, PartialEq)]
pub(crate) enum Fault {
    Syntax,
    Duplicate,
    /// Text that only serde_json minds: half of a surrogate pair.
    Text,
}

struct Members(Vec<(String, Box<RawValue>)>);

/// A source of choices: how a text may be written.
pub(crate) struct Choices(pub(crate) u64);

// ===== impl Tree =====

impl Tree {
    pub(crate) fn of(text: &str) -> Result<Self, Fault> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| Fault::Syntax)?;
        let text = raw.get();
        Ok(match text.as_bytes()[0] {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::String(serde_json::from_str(text).map_err(|_| Fault::Text)?),
            b'[' => {
                let elements: Vec<&RawValue> =
                    serde_json::from_str(text).map_err(|_| Fault::Syntax)?;
                let elements = elements.iter().map(|element| Self::of(element.get()));
                Self::Array(elements.collect::<Result<_, _>>()?)
            }
            b'{' => {
                let Members(members) = serde_json::from_str(text).map_err(|_| Fault::Text)?;
                let mut object = BTreeMap::new();
                for (name, value) in members {
                    if object.insert(name, Self::of(value.get())?).is_some() {
                        return Err(Fault::Duplicate);
                    }
                }
                Self::Object(object)
            }
            _ => Self::Number(text.to_owned()),
        })
    }

    /// One of the ways to write it.
    pub(crate) fn write(&self, choices: &mut Choices, out: &mut String) {
        choices.space(out);
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => choices.string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (k, element) in elements.iter().enumerate() {
                    if k > 0 {
                        out.push(',');
                    }
                    element.write(choices, out);
                }
                choices.space(out);
                out.push(']');
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for k in (1..members.len()).rev() {
                    members.swap(k, choices.below(k + 1));
                }
                out.push('{');
                for (k, (name, value)) in members.into_iter().enumerate() {
                    if k > 0 {
                        out.push(',');
                    }
                    choices.space(out);
                    choices.string(name, out);
                    choices.space(out);
                    out.push(':');
                    value.write(choices, out);
                }
                choices.space(out);
                out.push('}');
            }
        }
        choices.space(out);
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

// ===== impl Choices =====

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*, from a seed that is not 0.
        self.0 |= 1 << 40;
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn space(&mut self, out: &mut String) {
        for _ in 0..self.below(4).saturating_sub(2) {
            out.push([' ', '\n', '\r', '\t'][self.below(4)]);
        }
    }

    fn string(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for char in text.chars() {
            let short = match char {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\n' => Some('n'),
                '\t' => Some('t'),
                '\r' => Some('r'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                _ => None,
            };
            let must = char < ' ' || matches!(char, '"' | '\\');
            match (self.below(6), short) {
                (0, _) => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        let hex = format!("{unit:04x}");
                        out.push_str("\\u");
                        out.push_str(&if self.below(2) == 0 {
                            hex
                        } else {
                            hex.to_uppercase()
                        });
                    }
                }
                (1 | 2, Some(short)) => out.extend(['\\', short]),
                (_, Some(short)) if must => out.extend(['\\', short]),
                _ if must => out.push_str(&format!("\\u{:04x}", u32::from(char))),
                _ => out.push(char),
            }
        }
        out.push('"');
    }
}

/// Trees of few values, so that two of them often are nearly the same.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let text = r#"[ab/"\\\n\u{1}é😀:,{\[]{0,3}"#;
    // Also such as are told apart only by what is after the first eight bytes, or by their length.
    let name = move || prop_oneof![3 => text, 1 => "abcdef[g\u{0}]{0,4}"];
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        prop_oneof![
            "0", "1", "1\\.0", "1e0", "10", "-0", "-1", "0\\.1", "1E0", "1e\\+0"
        ]
        .prop_map(Tree::Number),
        text.prop_map(Tree::String),
        "[ab]{30,600}".prop_map(Tree::String),
    ];
    let inside = leaf.prop_recursive(4, 24, 4, move |inside| {
        prop_oneof![
            proptest::collection::vec(inside.clone(), 0..4).prop_map(Tree::Array),
            proptest::collection::btree_map(name(), inside, 0..5).prop_map(Tree::Object),
        ]
    });
    proptest::collection::btree_map(name(), inside, 0..4).prop_map(Tree::Object)
}
