//! The program `peerage`.

fn main() -> std::process::ExitCode {
    peerage_node::main()
}
