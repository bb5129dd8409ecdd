//! Gemini's own schemas as JSON Schema.
//!
//! They are those of OpenAPI 3.0: types in capitals, `nullable` beside the type, counts as strings.

use std::borrow::Cow;

use crate::{
    convert::{
        read::{camel_case, next_name},
        text::{Raw, Text},
        write::Writer,
    },
    json::{Cursor, Kind, Strings},
};
use bytes::BytesMut;

/// What a protocol buffer of 64 bits is in JSON: a string, at times.
const COUNTS: [&str; 6] = [
    "maxItems",
    "minItems",
    "maxLength",
    "minLength",
    "maxProperties",
    "minProperties",
];

/// One pass over a schema that was found to be JSON.
struct Translator<'a> {
    text: &'a str,
    json: Cursor<'a>,
}

/// The same schema in JSON Schema.
///
/// What no schema of Gemini's has is kept as it is: it was JSON Schema before.
pub(super) fn translate<'a>(schema: &Raw<'a>) -> Raw<'a> {
    let mut out = BytesMut::with_capacity(schema.written().len());
    let mut translator = Translator {
        text: schema.written(),
        json: Cursor::new(schema.written().as_bytes(), Strings::Strict),
    };
    translator.schema(&mut Writer::new(&mut out));
    match std::str::from_utf8(&out) {
        Ok(out) => Raw::of(out.to_owned()).placed(schema.at()),
        // It was UTF-8, and was cut at quotes only.
        Err(_) => schema.clone(),
    }
}

// ===== impl Translator =====

impl<'a> Translator<'a> {
    /// One schema. They nest no deeper than the JSON does, which is bounded.
    fn schema(&mut self, to: &mut Writer<'_>) {
        if self.json.kind() != Kind::Object {
            return self.raw(to);
        }
        let (mut kind, mut nullable) = (None, false);
        to.object(|to| {
            let mut items = self.json.object();
            while let Some(name) = next_name(&mut self.json, self.text, &mut items) {
                let camel = camel_case(Cow::Borrowed(&name));
                let camel = &*camel;
                match (camel, self.json.kind()) {
                    // In JSON Schema the two are one member.
                    ("type", Kind::String) => kind = Some(self.string().to_ascii_lowercase()),
                    ("nullable", Kind::Bool) => nullable = self.json.bool(),
                    ("items" | "additionalProperties" | "not", Kind::Object) => {
                        self.schema(to.name(camel));
                    }
                    ("anyOf" | "oneOf" | "allOf" | "prefixItems", Kind::Array) => {
                        to.name(camel).array(|to| {
                            let mut items = self.json.array();
                            while self.json.element(&mut items) {
                                self.schema(to);
                            }
                        });
                    }
                    ("properties" | "patternProperties" | "$defs", Kind::Object) => {
                        self.schemas(to.name(camel));
                    }
                    ("defs", Kind::Object) => self.schemas(to.name("$defs")),
                    ("ref", Kind::String) => {
                        let reference = self.string();
                        let to = to.name("$ref");
                        match reference.strip_prefix("#/defs/") {
                            Some(name) => {
                                to.pieces([&Text::plain("#/$defs/"), &Text::new(name, 0)])
                            }
                            None => to.str(reference),
                        }
                    }
                    (_, Kind::String) if COUNTS.contains(&camel) => {
                        let count = self.string();
                        let to = to.name(camel);
                        match count.parse() {
                            Ok(count) => to.count(count),
                            Err(_) => to.str(count),
                        }
                    }
                    // JSON Schema has several of them.
                    ("example", _) => to.name("examples").array(|to| self.raw(to)),
                    _ => {
                        let known = COUNTS.contains(&camel)
                            || matches!(camel, "additionalProperties" | "propertyOrdering");
                        let name = if known { camel } else { &name };
                        // What is no name of ours may need escapes.
                        self.raw(to.name(Text::of(name).written()));
                    }
                }
            }
            match kind.as_deref() {
                None | Some("type_unspecified") => {}
                Some(kind) if nullable && kind != "null" => {
                    to.name("type").array(|to| {
                        to.str(kind);
                        to.str("null");
                    });
                }
                Some(kind) => to.name("type").str(kind),
            }
        });
    }

    /// Schemas by names, which are nobody's but the caller's.
    fn schemas(&mut self, to: &mut Writer<'_>) {
        to.object(|to| {
            let mut items = self.json.object();
            while let Some(name) = next_name(&mut self.json, self.text, &mut items) {
                to.name(Text::of(&name).written());
                self.schema(to);
            }
        });
    }

    fn string(&mut self) -> &'a str {
        let span = self.json.string();
        &self.text[span]
    }

    fn raw(&mut self, to: &mut Writer<'_>) {
        let span = self.json.skip_span();
        to.raw(&Raw::of(Cow::Borrowed(&self.text[span])));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::translate;
    use crate::convert::text::Raw;

    fn translated(schema: &Value) -> Value {
        let written = schema.to_string();
        serde_json::from_str(translate(&Raw::new(&written, 0)).written()).unwrap()
    }

    #[test]
    fn every_keyword_of_a_schema_is_that_of_json_schema() {
        for (gemini, expected) in [
            (json!({"type": "STRING"}), json!({"type": "string"})),
            (json!({"type": "TYPE_UNSPECIFIED"}), json!({})),
            (json!({"type": "NULL"}), json!({"type": "null"})),
            (
                json!({"type": "INTEGER", "nullable": true}),
                json!({"type": ["integer", "null"]}),
            ),
            (
                json!({"nullable": false, "type": "NUMBER"}),
                json!({"type": "number"}),
            ),
            (
                json!({"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": "1", "max_items": 3}),
                json!({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}),
            ),
            (
                json!({"minItems": "1},{", "maxItems": "-1"}),
                json!({"minItems": "1},{", "maxItems": "-1"}),
            ),
            (
                json!({"any_of": [{"type": "STRING"}, {"ref": "#/defs/x"}], "defs": {"x": {"type": "OBJECT"}}}),
                json!({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "object"}}}),
            ),
            (
                json!({"enum": ["TYPE", "STRING"], "example": {"type": "STRING"}, "default": "STRING", "format": "enum"}),
                json!({"enum": ["TYPE", "STRING"], "examples": [{"type": "STRING"}], "default": "STRING", "format": "enum"}),
            ),
            (
                json!({"type": "OBJECT", "additionalProperties": false, "required": ["a_b"], "property_ordering": ["a_b"]}),
                json!({"type": "object", "additionalProperties": false, "required": ["a_b"], "propertyOrdering": ["a_b"]}),
            ),
        ] {
            assert_eq!(translated(&gemini), expected);
        }
    }

    #[test]
    fn names_of_properties_are_no_keywords() {
        let properties = json!({"type": {"type": "STRING"}, "any_of": {"type": "STRING"}, "a\"\n": {"type": "STRING"}});
        let schema = json!({"type": "OBJECT", "properties": properties});
        let properties = json!({"type": {"type": "string"}, "any_of": {"type": "string"}, "a\"\n": {"type": "string"}});
        assert_eq!(
            translated(&schema),
            json!({"type": "object", "properties": properties})
        );
    }

    #[test]
    fn json_schema_is_itself() {
        let schema = json!({
            "type": ["string", "null"],
            "$ref": "#/$defs/y",
            "$defs": {"y": {"type": "object", "properties": {"p": true}}},
            "oneOf": [true, {"const": "STRING"}],
            "items": [],
            "x_y": 1,
        });
        assert_eq!(translated(&schema), schema);
    }

    #[test]
    fn s7_a_schema_as_deep_as_json_may_be_is_translated() {
        let schema = [
            &r#"{"items":"#.repeat(127),
            r#"{"type":"STRING"}"#,
            &"}".repeat(127),
        ];
        let schema = schema.concat();
        let translated = translate(&Raw::new(&schema, 0));
        assert_eq!(translated.written(), schema.replace("STRING", "string"),);
    }
}
