//! Somebody else answers.

use buttress_core::Plain;
use buttress_failover::{Endpoint, Failover};
use tower::{BoxError, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let region = |name: &'static str, works: bool| {
        let service = service_fn(move |ask: &'static str| async move {
            match works {
                true => Ok(format!("{ask}, says {name}")),
                false => Err(BoxError::from("down")),
            }
        });
        Endpoint::new(name, service)
    };
    let service = Failover::over(Plain, [region("east", false), region("west", true)])
        .expect("their names differ")
        .on_event(|event| println!("{event:?}"));
    println!("{:?}", service.oneshot("hello").await);
}
