//! HTTP for machines: `/metrics`, `/livez`, `/readyz`.
//!
//! In: metrics, and whether profiles were looked at once. Out: text. Never: a change.

use crate::metrics::Metrics;
use axum::{Router, http::StatusCode, http::header, response::IntoResponse, routing::get};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Content type of the metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes.
pub fn router(metrics: &Metrics, ready: Arc<AtomicBool>) -> Router {
    let registry = Arc::new(metrics.registry());
    let metrics = move || {
        let registry = Arc::clone(&registry);
        async move {
            match Metrics::text(&registry) {
                Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    let readyz = move || {
        let ready = ready.load(Ordering::Relaxed);
        async move { if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") } }
    };
    Router::new().route("/metrics", get(metrics)).route("/livez", get(async || "alive\n")).route("/readyz", get(readyz))
}
