//! `ace-member --config FILE COMMAND`

fn main() -> std::process::ExitCode {
    ace_member::main()
}
