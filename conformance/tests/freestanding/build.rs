//! Link arguments: here and not in a cargo configuration, which would meet the build scripts of the dependencies too, and
//! which RUSTFLAGS would replace.

fn main() {
    // The last word: rustc itself asks for `-pie` or `-static-pie`, as it is configured.
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
