//! `ace-as --config FILE [--storage URL]`, and commands for what is stored.

use ace_as::Config;
use ace_backend_daemon::{Maintenance, NoOptions, Program, Role};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let program = Program { name, version, about: "An Authorization Server for groups", role: Role::AuthServer };
    program.run::<Config, NoOptions, Maintenance>(async |loaded, url, _| ace_as::run(loaded, url).await).await
}
