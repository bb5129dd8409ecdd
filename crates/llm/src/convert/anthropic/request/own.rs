use crate::convert::{
    model::{Own, Weight},
    read::Reader,
};

/// Takes a member that no other dialect has. What holds nothing says nothing.
pub(super) fn own<'a>(json: &mut Reader<'a>, weight: Weight, to: &mut Vec<Own>) {
    if json.null() {
        return;
    }
    let value = json.raw();
    if !matches!(value.written(), "[]" | "{}") {
        let at = value.at();
        to.push(Own { at, weight });
    }
}

/// Takes a member that says nothing if it is `usual`.
pub(super) fn unless<'a>(usual: &str, json: &mut Reader<'a>, to: &mut Vec<Own>) {
    if json.peek().written() == usual {
        json.skip();
    } else {
        own(json, Weight::Matters, to);
    }
}
