//! Ids of calls as the API takes them.

use crate::convert::text::Text;

/// The id of a call in the alphabet that the API takes. `None`: it is in it.
pub(super) fn safe_id(id: &Text<'_>) -> Option<Text<'static>> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if id.written().chars().all(is_safe) {
        return None;
    }
    let safe: String = id
        .decode()
        .chars()
        .map(|c| if is_safe(c) { c } else { '_' })
        .collect();
    Some(Text::of(&safe))
}
