//! What the gateway is measured against: a proxy that passes heads and bodies on as they come.

use http::{
    Request, Response, Uri,
    header::HOST,
    uri::{Authority, Parts, Scheme},
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::BoxError;

#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
}

impl Forwarder {
    pub(crate) fn new(upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, upstream }
    }

    pub(crate) async fn forward(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, BoxError> {
        let mut target = Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.upstream);
        target.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(target)?;
        request.headers_mut().remove(HOST);
        Ok(self.client.request(request).await?)
    }
}
