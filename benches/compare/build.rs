//! Compiles what calls C, where a feature asks for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "rabbitmq-c")]
    rabbitmq_c();
}

#[cfg(feature = "rabbitmq-c")]
fn rabbitmq_c() {
    const CALLS: &str = "src/client/rabbitmq_c/calls.c";
    const MALLOC: &str = "src/client/rabbitmq_c/malloc.c";

    println!("cargo::rerun-if-changed={CALLS}");
    println!("cargo::rerun-if-changed={MALLOC}");
    cc::Build::new().file(CALLS).compile("calls");
    // Behind what needs it, for linkers that look at each library once.
    if let Err(error) = pkg_config::probe_library("librabbitmq") {
        panic!("the feature rabbitmq-c needs librabbitmq: {error}");
    }
    for object in cc::Build::new().file(MALLOC).compile_intermediates() {
        println!("cargo::rustc-link-arg-bin=counted={}", object.display());
    }
}
