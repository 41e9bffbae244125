//! `ace-kdc`, with media groups.
use custom_profile as _;

fn main() -> std::process::ExitCode {
    ace_kdc::main()
}
