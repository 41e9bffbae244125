//! A KDC in somebody's own HTTP server: no CoAP, no OSCORE between client and KDC. What a KDC needs of the world is here in the
//! smallest form that is right:
//!
//! | part | here |
//! | --- | --- |
//! | [`validator`] | tokens are references; the Authorization Server says what they mean |
//! | [`bearer`] | the transport profile: over TLS a client shows a secret that the KDC gave it for its token |
//! | [`sqlite`] | the storage, which keeps all of it |
//! | [`server`] | HTTP on one side, the engine on the other |
//!
//! TLS ends before this server, in a proxy on the same host: what it hears is for nobody else.

pub mod bearer;
pub mod server;
pub mod sqlite;
pub mod validator;
