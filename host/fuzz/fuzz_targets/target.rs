//! Runs the fuzz target that the variable `BENNU_FUZZ_TARGET` names, with libFuzzer.

#![no_main]

use std::sync::LazyLock;

use bennu::fuzz::{Target, find};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    // libfuzzer-sys aborts in a hook, so also at a panic that the host catches. It aborts without the hook at all others.
    drop(std::panic::take_hook());
    let name = std::env::var("BENNU_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("`{name}` in BENNU_FUZZ_TARGET is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Inputs that aren't valid are kept too: most of what can go wrong is in what refuses them.
    let _ = (TARGET.run)(bytes);
});
