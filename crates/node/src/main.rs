//! The program `peerage`.

/// Blocks of a mebibyte come and go from thread to thread. The system's allocator gives
/// their pages back and takes new ones all the time, which costs a quarter of a transfer.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    peerage_node::main()
}
