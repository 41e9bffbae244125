//! `ace-as --config FILE [--storage URL]`, and commands for what is stored.

fn main() -> std::process::ExitCode {
    ace_as::main()
}
