//! The contexts of a server.

mod contexts;
mod lab;
mod runs;
mod takeover;
