//! The contexts of a server.

mod asking;
mod contexts;
mod lab;
mod runs;
mod takeover;
