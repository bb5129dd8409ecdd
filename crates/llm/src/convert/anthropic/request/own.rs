use crate::convert::{
    model::{Own, Weight},
    read::Reader,
};

/// Takes a member that no other dialect has. What holds nothing says nothing.
pub(super) fn own<'a>(json: &mut Reader<'a>, weight: Weight, to: &mut Vec<Own<'a>>) {
    if json.null() {
        return;
    }
    let value = json.raw();
    if !matches!(value.written(), "[]" | "{}") {
        to.push(Own { value, weight });
    }
}

/// Takes a member that says nothing if it is `usual`.
pub(super) fn unless<'a>(usual: &str, json: &mut Reader<'a>, to: &mut Vec<Own<'a>>) {
    let before = to.len();
    own(json, Weight::Matters, to);
    if to.len() > before && to.last().is_some_and(|own| own.value.written() == usual) {
        to.pop();
    }
}
