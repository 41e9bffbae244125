//! `ace-as`, with media groups.
use custom_profile as _;

fn main() -> std::process::ExitCode {
    ace_as::main()
}
