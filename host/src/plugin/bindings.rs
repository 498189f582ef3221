//! The host's side of the contract, generated from `wit/`: the only place where that is done.

#![allow(missing_docs, reason = "the documentation stands in the WIT files")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin-full",
    imports: { default: trappable },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
