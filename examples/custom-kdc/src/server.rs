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
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The KDC's handle, and the associations by whose bearers clients are known.
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

/// The client's address: the proxy on this host adds it to the header, at the end. A handshake of TCP has proven it.
fn client(headers: &HeaderMap, from: SocketAddr) -> IpAddr {
    let named = header(headers, HeaderName::from_static("x-forwarded-for")).filter(|_| from.ip().is_loopback());
    named.and_then(|all| all.rsplit(',').next()?.trim().parse().ok()).unwrap_or(from.ip())
}

/// Who asks; `None` where the bearer is nobody's.
async fn caller(shared: &Shared, headers: &HeaderMap, from: SocketAddr) -> Option<Caller> {
    match header(headers, AUTHORIZATION) {
        None => Some(Caller::Anonymous(Some(Endpoint::of_ip(client(headers, from), true)))),
        Some(value) => {
            let shown = hex::decode(value.strip_prefix("Bearer ")?).ok()?;
            bearer::caller(&shared.known, &shared.handle, &shown).await
        }
    }
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
    let Some(caller) = caller(&shared, &headers, from).await else { return StatusCode::UNAUTHORIZED.into_response() };
    let answer = shared.handle.call(caller, request).await;
    let media = answer.content_format.and_then(media_type).map(String::from);
    let place = (!answer.location_path.is_empty()).then(|| format!("/{}", answer.location_path.join("/")));
    // In a refusal Max-Age says after how many seconds to ask again.
    let again = answer.max_age.filter(|_| !answer.status.is_success()).map(|seconds| seconds.to_string());
    let named = [(CONTENT_TYPE, media), (LOCATION, place), (RETRY_AFTER, again)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let response = Response::builder().status(answer.http_status());
    let response = named.fold(response, |response, (name, value)| response.header(name, value));
    response.body(Body::from(answer.payload)).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
