//! The endpoint on a network that loses, repeats and reorders datagrams: a seed gives the same run again.

mod changes;
mod network;
mod roles;
