//! Clients of one connection each, for credentials that belong to the connection and not to the request.
//!
//! A client keeps connections in a pool, and a request takes one from there or begins another, whichever comes first. Where
//! another is never begun, the next request waits until the one connection is back: so all go over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

/// How long a connection may take to come back after its answer was read; then the server has closed it.
const RETURN_MAX: Duration = Duration::from_secs(2);

/// Lets one connection be made.
#[derive(Clone, Default)]
pub(super) struct Once(Arc<AtomicBool>);

impl<S> Layer<S> for Once {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, made: Arc::clone(&self.0) }
    }
}

/// What makes the connection.
#[derive(Clone)]
pub(super) struct Connector<S> {
    inner: S,
    made: Arc<AtomicBool>,
}

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R, Error = Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        if !self.made.swap(true, Ordering::SeqCst) {
            return Box::pin(self.inner.call(request));
        }
        Box::pin(async {
            tokio::time::sleep(RETURN_MAX).await;
            Err("the server closed the connection before it was told who calls".into())
        })
    }
}
