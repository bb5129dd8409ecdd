//! Answers: text, reasoning and tool calls, in whatever dialect.

use std::borrow::Cow;

use crate::{
    Dialect, Finish, Request, Usage,
    dialect::{Answer, Delta},
    plan::Plan,
    usage::{pieces, tokens},
};

#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub(super) text: Option<Said>,
    pub(super) reasoning: Option<String>,
    pub(super) tools: Vec<ToolCall>,
    pub(super) finish: Option<Finish>,
    pub(super) usage: Option<Usage>,
    pub(super) chunks: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Said {
    /// A text, and how many tokens it has.
    Fixed(String, u64),
    Echo,
}

/// A tool call in an answer.
#[derive(Debug, Clone)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

// ===== impl Text =====

impl Text {
    pub(super) fn plan(&self, dialect: Dialect, request: &Request, id: u64) -> Plan {
        let text: Option<Cow<'_, str>> = match &self.text {
            None => None,
            Some(Said::Fixed(text, _)) => Some(text.into()),
            Some(Said::Echo) => Some(request.last_text().into()),
        };
        let text = text.as_deref();
        let finish = match self.tools.is_empty() {
            true => Finish::Stop,
            false => Finish::ToolCalls,
        };
        let mut answer = Answer {
            id,
            model: request.model().unwrap_or("unknown"),
            text,
            reasoning: self.reasoning.as_deref(),
            tools: &self.tools,
            finish: self.finish.unwrap_or(finish),
            usage: self.usage.unwrap_or_else(|| self.derive(request, text)),
            include_usage: request.wants_usage(),
            sse: dialect.streams_events(request),
            deltas: Vec::new(),
        };
        if !request.streamed() {
            return dialect.whole(&answer);
        }
        answer.deltas = self.deltas(text);
        dialect.stream(&answer)
    }

    fn derive(&self, request: &Request, text: Option<&str>) -> Usage {
        let said = match (&self.text, text) {
            (Some(Said::Fixed(_, tokens)), _) => *tokens,
            (_, text) => text.map_or(0, tokens),
        };
        let reasoning = self.reasoning.as_deref().map_or(0, tokens);
        let calls: u64 = (self.tools.iter())
            .map(|tool| 1 + tokens(&tool.arguments))
            .sum();
        let output = reasoning + said + calls;
        Usage::new(request.prompt_tokens(), output).reasoning(reasoning)
    }

    fn deltas<'a>(&'a self, text: Option<&'a str>) -> Vec<Delta<'a>> {
        let mut deltas = Vec::with_capacity(64);
        deltas.extend(
            self.reasoning
                .iter()
                .flat_map(|all| pieces(all))
                .map(Delta::Reasoning),
        );
        if let Some(text) = text {
            match self.chunks {
                None => deltas.extend(pieces(text).map(Delta::Text)),
                Some(chunks) => deltas.extend(cut(text, chunks).map(Delta::Text)),
            }
        }
        for (index, tool) in self.tools.iter().enumerate() {
            deltas.push(Delta::Tool(index));
            deltas.extend(pieces(&tool.arguments).map(|part| Delta::Arguments(index, part)));
        }
        deltas
    }
}

/// Cuts a text into so many runs of whole tokens, as even as they come.
fn cut(text: &str, chunks: usize) -> impl Iterator<Item = &str> {
    let ends: Vec<usize> = pieces(text)
        .scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        })
        .collect();
    let chunks = chunks.min(ends.len());
    let mut start = 0;
    (1..=chunks).map(move |chunk| {
        let end = ends[ends.len() * chunk / chunks - 1];
        let part = &text[start..end];
        start = end;
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_as_many_chunks_as_asked() {
        let text = "one two three four five";
        for chunks in 1..9 {
            let parts: Vec<_> = cut(text, chunks).collect();
            assert_eq!(parts.concat(), text);
            assert_eq!(parts.len(), chunks.min(5));
        }
        assert_eq!(cut("", 3).count(), 0);
    }
}
