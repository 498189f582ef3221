//! The host's bindings for the contract, generated from `wit/`. Bindings are generated only in this file.

#![allow(missing_docs, reason = "the documentation is in the WIT files")]

wasmtime::component::bindgen!({
    path: "wit",
    // One world for plugins and gatekeepers: both may import the same interfaces, and exports are found by name.
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
        "bennu:channel/schedule.get": async | trappable,
        // The entries of a durable room may have to be read from the disk, also before they are written.
        "bennu:channel/entries": async | trappable,
        // In a cluster, the other nodes are asked.
        "bennu:channel/topics.members": async | trappable,
        // A server may answer at any time.
        "bennu:channel/http": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
