//! HTTP on one side, the engine on the other.

use crate::bearer;
use ace_backend_tokio::{AssociationTable, Handle};
use ace_groupcomm::{Caller, Endpoint, Method, Request};
use ace_groupcomm_messages::labels::content_format::{media_type, of_media_type};
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, Method as HttpMethod, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all requests share.
#[derive(Clone)]
pub struct Shared {
    pub handle: Handle,
    pub known: Arc<AssociationTable>,
}

/// The service: every path is the KDC's.
pub fn router(shared: Shared) -> axum::Router {
    axum::Router::new().fallback(serve).with_state(shared)
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn serve(
    State(shared): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    method: HttpMethod,
    uri: Uri,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let Some(method) = Method::from_http(method.as_str()) else { return StatusCode::NOT_IMPLEMENTED.into_response() };
    // GROUPNAMEs are written without escapes.
    let path = uri.path().trim_start_matches('/').split('/').map(String::from);
    let mut request = Request::new(method, path);
    request.content_format = header(&headers, CONTENT_TYPE).and_then(of_media_type);
    request.accept = header(&headers, ACCEPT).and_then(of_media_type);
    request.payload = payload;
    let caller = match header(&headers, AUTHORIZATION) {
        // TCP has shown that it is there.
        None => Caller::Anonymous(Some(Endpoint::of_ip(from.ip(), true))),
        Some(value) => {
            let shown = value.strip_prefix("Bearer ").and_then(|shown| hex::decode(shown).ok()).unwrap_or_default();
            let Some(caller) = bearer::caller(&shared.known, &shared.handle, &shown).await else {
                return StatusCode::UNAUTHORIZED.into_response();
            };
            caller
        }
    };
    let answer = shared.handle.call(caller, request).await;
    let mut response = Response::builder().status(answer.http_status());
    if let Some(media) = answer.content_format.and_then(media_type) {
        response = response.header(CONTENT_TYPE, media);
    }
    if !answer.location_path.is_empty() {
        response = response.header(LOCATION, format!("/{}", answer.location_path.join("/")));
    }
    if let Some(seconds) = answer.max_age {
        response = response.header(RETRY_AFTER, seconds);
    }
    response.body(Body::from(answer.payload)).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
