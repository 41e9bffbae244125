//! Load on a KDC over real UDP, with OSCORE clients that were prepared beforehand, and the floor of the same run.
//!
//! The server has a thread of its own, and so has the load; on two cores each has one. What is measured is what
//! the clients see: operations a second, latencies, errors. The floor is what an operation cannot do without, timed
//! on the same machine just before: its signatures, its AEAD operations, its exchange of datagrams.

pub mod cpu;
pub mod floor;
pub mod load;
pub mod rekey;
pub mod server;
