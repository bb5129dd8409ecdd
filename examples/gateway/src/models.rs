//! `/v1/models`: what can be asked for.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use buttress_llm::Dialect;
use http::Request;
use serde_json::{Value, json};

use crate::{
    callers::Caller,
    endpoint::Endpoint,
    face,
    fault::Fault,
    front,
    gateway::Gateway,
    route::{Route, Routes},
};

/// A model, and the endpoint that serves it first.
#[derive(Debug)]
pub(crate) struct Model {
    id: String,
    owner: String,
}

// ===== impl Model =====

impl Model {
    /// Those that have a name: the routes without `*`, and what the endpoints say they have, as far
    /// as a route leads there.
    pub(crate) fn all(routes: &Routes, endpoints: &[Arc<Endpoint>]) -> Vec<Self> {
        let mut listed = HashSet::new();
        let had = endpoints.iter().flat_map(|endpoint| &endpoint.models);
        (routes.names())
            .chain(had.map(String::as_str))
            .filter(|id| listed.insert(*id))
            .filter_map(|id| {
                let endpoint = routes.find(id)?.first();
                Some(Self {
                    id: id.to_owned(),
                    owner: endpoint.name.to_string(),
                })
            })
            .collect()
    }

    /// As this dialect describes a model. When it was made is not known here.
    fn shown(&self, dialect: Dialect) -> Value {
        match dialect {
            Dialect::Anthropic => json!({
                "type": "model",
                "id": self.id,
                "display_name": self.id,
                "created_at": "1970-01-01T00:00:00Z",
            }),
            _ => json!({ "id": self.id, "object": "model", "created": 0, "owned_by": self.owner }),
        }
    }
}

/// `GET /v1/models`
pub(crate) async fn list(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    let (head, _) = request.into_parts();
    let caller = match gateway.admits(&head) {
        Ok(caller) => caller,
        Err(fault) => return front::turn_away(&gateway, &head, &fault),
    };
    let dialect = face::dialect_of(&head.headers);
    let models: Vec<_> = (gateway.models.iter())
        .filter(|model| may_use(caller.as_ref(), &model.id))
        .collect();
    let shown: Vec<_> = models.iter().map(|model| model.shown(dialect)).collect();
    let list = match dialect {
        Dialect::Anthropic => json!({
            "has_more": false,
            "first_id": models.first().map(|model| &model.id),
            "last_id": models.last().map(|model| &model.id),
            "data": shown,
        }),
        _ => json!({ "object": "list", "data": shown }),
    };
    Json(list).into_response()
}

/// If nobody is asked for a key, everybody may.
fn may_use(caller: Option<&Caller>, model: &str) -> bool {
    caller.is_none_or(|caller| caller.may_use(model))
}

/// `GET /v1/models/{id}`
pub(crate) async fn one(
    State(gateway): State<Arc<Gateway>>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let (head, _) = request.into_parts();
    // One that is not UTF-8 is not the name of a model.
    let id = id.map_or_else(|_| head.uri.path().to_owned(), |Path(id)| id);
    match gateway.admits(&head) {
        Ok(caller) if may_use(caller.as_ref(), &id) => {}
        Ok(_) => return front::turn_away(&gateway, &head, &Fault::Forbidden(id)),
        Err(fault) => return front::turn_away(&gateway, &head, &fault),
    }
    let dialect = face::dialect_of(&head.headers);
    let listed = gateway.models.iter().find(|model| model.id == id);
    if let Some(model) = listed {
        return Json(model.shown(dialect)).into_response();
    }
    // A route with `*` may take what nobody listed.
    match gateway.routes.find(&id).map(Route::first) {
        Some(endpoint) => {
            let owner = endpoint.name.clone();
            Json(
                Model {
                    id,
                    owner: owner.to_string(),
                }
                .shown(dialect),
            )
            .into_response()
        }
        None => front::turn_away(&gateway, &head, &Fault::Model(id)),
    }
}
