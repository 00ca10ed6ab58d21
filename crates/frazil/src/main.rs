//! The program `frazil`.

/// Many small allocations from many threads, and a limit on how far a hostile length can get.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    frazil::main()
}
