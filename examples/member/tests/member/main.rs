//! The member against a real AS and a real KDC, in one process and as a process that is killed.

mod flow;
mod house;
mod killed;
mod life;
mod observe;
mod output;
mod registration;
mod topic;
