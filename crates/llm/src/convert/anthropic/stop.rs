//! Why a message ended.

use crate::convert::{model::Finish, text::Text, write::Writer};

/// What a `stop_reason` means, and the `stop_sequence` beside it.
pub(super) fn read<'a>(reason: &Text<'a>, sequence: Option<Text<'a>>) -> Finish<'a> {
    match &*reason.decode() {
        "end_turn" => Finish::Stop,
        "stop_sequence" => Finish::Sequence(sequence),
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::Calls,
        "refusal" => Finish::Filtered,
        "pause_turn" => Finish::Paused,
        _ => Finish::Other(reason.clone()),
    }
}

/// Writes `stop_reason` and `stop_sequence`. `called`, `refused`: what was said has calls, or a
/// refusal.
pub(super) fn write(finish: Option<&Finish<'_>>, called: bool, refused: bool, to: &mut Writer<'_>) {
    let mut sequence = None;
    let reason = match finish {
        Some(Finish::Length) => "max_tokens",
        Some(Finish::Filtered) => "refusal",
        Some(Finish::Paused) => "pause_turn",
        // It is the words that say it, where the provider's reason does not.
        _ if refused => "refusal",
        Some(Finish::Calls) => "tool_use",
        _ if called => "tool_use",
        Some(Finish::Sequence(which)) => {
            sequence = which.as_ref();
            "stop_sequence"
        }
        // The SDKs' types know no other words.
        None | Some(Finish::Stop | Finish::Other(_)) => "end_turn",
    };
    to.name("stop_reason").str(reason);
    to.name("stop_sequence");
    match sequence {
        Some(sequence) => to.text(sequence),
        None => to.null(),
    }
}
