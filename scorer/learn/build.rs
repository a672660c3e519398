//! Tells the loader where libtorch is: where it was at build time, or beside an installed binary.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says this to crates that depend on it directly; without the feature it is not there.
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    }
}
