//! The errors that a provider's API answers with, in each dialect's own words.

use serde_json::json;

use crate::{Dialect, Reply};

/// An error that a provider's API answers with.
///
/// As a reply (`ApiError` is one, by [`From`]) it has the status, envelope and text that the
/// provider's dialect has for it; [`Fault::ErrorInOk`](crate::Fault::ErrorInOk) and
/// [`Fault::ErrorEvent`](crate::Fault::ErrorEvent) put the same envelope into a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApiError {
    /// What usually comes with this status: see [`Reply::error`].
    Status(u16),
    /// OpenAI, 429: type and code `insufficient_quota`.
    InsufficientQuota,
    /// OpenAI, 429: code `credit_balance_exhausted`.
    CreditBalanceExhausted,
    /// OpenAI, 429: code `organization_spend_limit_exceeded`.
    OrganizationSpendLimit,
    /// OpenAI, 429: code `project_spend_limit_exceeded`.
    ProjectSpendLimit,
    /// OpenAI, 429: code `organization_usage_limit_exceeded`.
    OrganizationUsageLimit,
    /// Anthropic, 429: `error.details.error_code` is `enforced_spend_limit_reached`.
    EnforcedSpendLimit,
    /// Anthropic, 400: "You have reached your specified API usage limits".
    UsageLimits,
    /// Gemini, 429: a violated quota whose id says `PerDay`.
    DailyQuota,
    /// Gemini, 429: a `retryDelay` of a day.
    LongDelay,
    /// Gemini, 400: `API_KEY_INVALID`.
    InvalidKey,
    /// 400: the prompt is longer than the model's context.
    ContextLength,
    /// 404: no such model.
    ModelNotFound,
    /// The content filter refused: a 400, or Gemini's 200 without candidates.
    ContentFilter,
}

// ===== impl ApiError =====

impl ApiError {
    /// The errors that have a text of their own.
    pub const NAMED: [ApiError; 13] = [
        ApiError::InsufficientQuota,
        ApiError::CreditBalanceExhausted,
        ApiError::OrganizationSpendLimit,
        ApiError::ProjectSpendLimit,
        ApiError::OrganizationUsageLimit,
        ApiError::EnforcedSpendLimit,
        ApiError::UsageLimits,
        ApiError::DailyQuota,
        ApiError::LongDelay,
        ApiError::InvalidKey,
        ApiError::ContextLength,
        ApiError::ModelNotFound,
        ApiError::ContentFilter,
    ];

    /// The class of a call that it ends, by the name that the design gives it: `Throttled`,
    /// `Denied`, `Invalid`, `Unfit` or `Unavailable`.
    pub const fn class(self) -> &'static str {
        match self {
            ApiError::Status(429) => "Throttled",
            ApiError::Status(401..=403) => "Denied",
            ApiError::Status(404) => "Unfit",
            ApiError::Status(408 | 409 | 425 | 500..) => "Unavailable",
            ApiError::Status(_) => "Invalid",
            ApiError::InsufficientQuota
            | ApiError::CreditBalanceExhausted
            | ApiError::OrganizationSpendLimit
            | ApiError::ProjectSpendLimit
            | ApiError::OrganizationUsageLimit
            | ApiError::EnforcedSpendLimit
            | ApiError::UsageLimits
            | ApiError::DailyQuota
            | ApiError::LongDelay
            | ApiError::InvalidKey => "Denied",
            ApiError::ContextLength | ApiError::ModelNotFound | ApiError::ContentFilter => "Unfit",
        }
    }

    /// Whether a provider of this dialect can answer so.
    pub fn fits(self, dialect: Dialect) -> bool {
        match self {
            ApiError::InsufficientQuota
            | ApiError::CreditBalanceExhausted
            | ApiError::OrganizationSpendLimit
            | ApiError::ProjectSpendLimit
            | ApiError::OrganizationUsageLimit => dialect == Dialect::OpenAi,
            ApiError::EnforcedSpendLimit | ApiError::UsageLimits => dialect == Dialect::Anthropic,
            ApiError::DailyQuota | ApiError::LongDelay | ApiError::InvalidKey => {
                dialect == Dialect::Gemini
            }
            ApiError::Status(_)
            | ApiError::ContextLength
            | ApiError::ModelNotFound
            | ApiError::ContentFilter => true,
        }
    }

    /// The reply, in this dialect.
    pub(crate) fn reply(self, dialect: Dialect) -> Reply {
        let spent = |code: &str| {
            Reply::error(429).kind(code).code(code).message(
                "You exceeded your current quota, please check your plan and billing details. \
                 For more information on this error, read the docs: \
                 https://platform.openai.com/docs/guides/error-codes/api-errors.",
            )
        };
        match self {
            ApiError::Status(status) => Reply::error(status),
            ApiError::InsufficientQuota => spent("insufficient_quota"),
            ApiError::CreditBalanceExhausted => spent("credit_balance_exhausted"),
            ApiError::OrganizationSpendLimit => spent("organization_spend_limit_exceeded"),
            ApiError::ProjectSpendLimit => spent("project_spend_limit_exceeded"),
            ApiError::OrganizationUsageLimit => spent("organization_usage_limit_exceeded"),
            ApiError::EnforcedSpendLimit => Reply::error(429)
                .code("enforced_spend_limit_reached")
                .message("This workspace has reached its spend limit."),
            ApiError::UsageLimits => Reply::error(400).message(
                "You have reached your specified API usage limits. \
                 You will regain access on 2026-01-01 at 00:00 UTC.",
            ),
            ApiError::DailyQuota => {
                exhausted("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "34.4s")
            }
            ApiError::LongDelay => exhausted(
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
                "86399s",
            ),
            ApiError::InvalidKey => Reply::error(400)
                .message("API key not valid. Please pass a valid API key.")
                .code("API_KEY_INVALID"),
            ApiError::ContextLength => context_length(dialect),
            ApiError::ModelNotFound => model_not_found(dialect),
            ApiError::ContentFilter => content_filter(dialect),
        }
    }
}

fn exhausted(quota: &str, delay: &str) -> Reply {
    Reply::error(429)
        .message("You exceeded your current quota, please check your plan and billing details.")
        .details(json!([
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{ "quotaId": quota }],
            },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ]))
}

fn context_length(dialect: Dialect) -> Reply {
    match dialect {
        Dialect::OpenAi => Reply::error(400)
            .code("context_length_exceeded")
            .param("messages")
            .message(
                "This model's maximum context length is 8192 tokens. However, your messages \
                 resulted in 10012 tokens. Please reduce the length of the messages.",
            ),
        Dialect::Anthropic => {
            Reply::error(400).message("prompt is too long: 208310 tokens > 200000 maximum")
        }
        Dialect::Gemini => Reply::error(400).message(
            "The input token count (1200000) exceeds the maximum number of tokens allowed \
             (1048576).",
        ),
    }
}

fn model_not_found(dialect: Dialect) -> Reply {
    match dialect {
        Dialect::OpenAi => Reply::error(404)
            .message("The model `gpt-none` does not exist or you do not have access to it."),
        Dialect::Anthropic => Reply::error(404).message("model: claude-none"),
        Dialect::Gemini => Reply::error(404).message(
            "models/gemini-none is not found for API version v1beta, or is not supported for \
             generateContent.",
        ),
    }
}

fn content_filter(dialect: Dialect) -> Reply {
    match dialect {
        Dialect::OpenAi => Reply::error(400)
            .code("content_filter")
            .param("prompt")
            .message(
                "The response was filtered due to the prompt triggering the content management \
                 policy. Please modify your prompt and retry.",
            ),
        Dialect::Anthropic => {
            Reply::error(400).message("Output blocked by content filtering policy")
        }
        Dialect::Gemini => Reply::events([json!({
            "promptFeedback": { "blockReason": "PROHIBITED_CONTENT" },
            "usageMetadata": { "promptTokenCount": 9, "totalTokenCount": 9 },
        })]),
    }
}
