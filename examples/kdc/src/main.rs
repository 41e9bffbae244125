//! `ace-kdc --config FILE [--storage URL]`, and commands for what is stored.

use ace_backend_daemon::{Program, Role};
use ace_kdc::{Command, Config, Options};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let program = Program { name, version, about: "A Key Distribution Center for groups", role: Role::Kdc };
    program.run::<Config, Options, Command>(async |loaded, url, options| ace_kdc::run(loaded, url, options).await).await
}
