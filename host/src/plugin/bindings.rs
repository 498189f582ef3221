//! The host's side of the contract, generated from `wit/`: the only place where that is done.

#![allow(missing_docs, reason = "the documentation stands in the WIT files")]

wasmtime::component::bindgen!({
    path: "../wit",
    // Both worlds at once: what a component may import is the same for all, and what it exports is found by name.
    inline: "
        package bennu:host;

        world everything {
            include bennu:channel/plugin-full@0.1.0;
            include bennu:channel/gatekeeper@0.1.0;
        }
    ",
    world: "bennu:host/everything",
    imports: {
        "bennu:channel/store.get": async | trappable,
        "bennu:channel/store.scan": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
