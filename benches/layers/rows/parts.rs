//! What everything is made of, to judge the rest by.

use std::{hint::black_box, sync::Arc};

use buttress_core::{Plain, Reason, Refuse, Refused, Replay};
use buttress_http::Http;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::Instant;

use super::plain::Failed;
use crate::row::{Group, Row};

pub(crate) fn group() -> Group {
    let rows = vec![
        Row::new("clock read", || {
            || {
                black_box(Instant::now());
            }
        })
        .at_most(0),
        Row::new("Arc, clone and drop", || {
            let shared = Arc::new(0);
            move || drop(black_box(shared.clone()))
        })
        .at_most(0),
        Row::new("Box, make and drop", || {
            || drop(black_box(Box::new([0_u64; 8])))
        })
        .at_most(1),
        Row::new("refuse into an own error", || {
            || {
                let refused = black_box(Refused::new(Reason::QueueFull));
                let refused: Result<u32, Failed> = Plain.refuse(refused);
                black_box(&refused);
            }
        })
        .at_most(0),
        Row::new("copy a request with 6 headers", || {
            let request = request();
            move || {
                black_box(Http.copy(&request));
            }
        }),
    ];
    Group {
        name: "parts",
        rows,
    }
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/v1/chat/completions")
        .header("host", "127.0.0.1:8080")
        .header("authorization", "Bearer sk-0123456789")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "bench")
        .header("idempotency-key", "0123456789abcdef")
        .body(Full::from("{}"))
        .expect("a request")
}
