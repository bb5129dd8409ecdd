//! The models that there are, as each dialect lists them.

mod support;

use serde_json::json;
use support::{Caller, Gateway, Upstream, config};

#[tokio::test]
async fn the_models_are_listed_as_the_caller_knows_lists() {
    let upstream = Upstream::start().await;
    let more = "[[endpoint]]\nname = \"b\"\ndialect = \"anthropic\"\nbase_url = \"http://127.0.0.1:1\"\nmodels = [\"m-2\", \"b-1\", \"lost\"]\n\
                [[route]]\nmodel = \"b-*\"\nendpoints = [\"b\"]\n";
    let gateway = Gateway::start(&config("openai", &upstream.origin(), more));
    let mut caller = Caller::connect(gateway.address).await;
    let list = caller.get("/v1/models", "").await.json();
    assert_eq!(list["object"], "list");
    let models: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (&model["id"], &model["owned_by"]))
        .collect();
    assert_eq!(
        models,
        [
            (&json!("alias"), &json!("up")),
            (&json!("m-2"), &json!("up")),
            (&json!("b-1"), &json!("b"))
        ]
    );

    let version = "anthropic-version: 2023-06-01\r\n";
    let list = caller.get("/v1/models", version).await.json();
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("alias"), &json!("b-1"))
    );
    assert_eq!(list["data"][2]["type"], "model");
    assert_eq!(
        caller.get("/v1/models/b-1", "").await.json()["owned_by"],
        "b"
    );
    assert_eq!(
        caller.get("/v1/models/b-1", version).await.json()["display_name"],
        "b-1"
    );
    let lost = caller.get("/v1/models/lost", version).await;
    assert_eq!(
        (lost.status(), &lost.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}
