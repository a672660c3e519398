//! `/metrics`, `/status`, `/containers`, `/livez` and `/readyz`, for those who watch this agent.
//!
//! In: HTTP requests. Out: figures, the line's balance, and whether it lives and captures. Never: changes anything.

use crate::{
    metrics,
    status::{Sources, containers::Row},
};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::net::TcpListener;
use tracing::error;

#[derive(Clone, Debug)]
struct Shown {
    registry: Arc<Registry>,
    ready: Arc<AtomicBool>,
    status: Arc<Sources>,
}

/// Serves until it is dropped. `ready`: calls are being captured.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, ready: Arc<AtomicBool>, status: Arc<Sources>) {
    let router = Router::new()
        .route("/metrics", get(figures))
        .route("/status", get(balance))
        .route("/containers", get(containers))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .with_state(Shown { registry, ready, status });
    if let Err(error) = axum::serve(listener, router).await {
        error!(cause = %error, "metrics are not served any more");
    }
}

async fn figures(State(shown): State<Shown>) -> Response {
    match metrics::encode(&shown.registry) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn balance(State(shown): State<Shown>) -> Response {
    ([(CONTENT_TYPE, "application/json")], format!("{:#}\n", shown.status.json())).into_response()
}

async fn containers(State(shown): State<Shown>) -> Response {
    let rows: Vec<_> = shown.status.containers.get().iter().map(Row::from).collect();
    // Strings and times: there is nothing that JSON could not say.
    let text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

async fn readiness(State(shown): State<Shown>) -> Response {
    if shown.ready.load(Ordering::Relaxed) {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not capturing\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{listing::Listing, stats::Shared},
        status::ask::{self, ask},
    };
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    }

    #[tokio::test]
    async fn says_whether_it_lives_and_captures() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let ready = Arc::new(AtomicBool::new(false));
        let sources = Sources {
            node: "n".into(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            ring_bytes: 4096,
            capture: Shared::default(),
            containers: Listing::default(),
            directory: crate::kubernetes::Directory::default(),
            uplink: None,
            jsonl: None,
        };
        let serving = tokio::spawn(serve(listener, Arc::new(metrics::registry()), ready.clone(), Arc::new(sources)));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        ready.store(true, Ordering::Relaxed);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let figures = get(address, "/metrics").await;
        assert!(figures.contains(metrics::CONTENT_TYPE) && figures.contains("surprisal_agent_build_info"), "{figures}");
        let answer = tokio::task::spawn_blocking(move || ask(address)).await.expect("no panic").expect("an answer");
        assert!(answer.table().contains("kernel buffer") && answer.json().contains("\"ring_bytes\": 4096"), "{answer:?}");
        let answer = tokio::task::spawn_blocking(move || ask::containers(address)).await.expect("no panic");
        assert_eq!(answer.expect("an answer").0, "[]\n");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));
        serving.abort();
    }
}
