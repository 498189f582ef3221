//! QuickJS as a WebAssembly component that implements the contract of Bennu's plugins with a script.
//!
//! The build script makes the component. An instance of it must first be given a script, with its export `init`. It asks
//! the host for the modules that the script imports, with its import `local:init/module-loader`.

/// The component.
pub static COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine.wasm"));

/// The source of a module of the SDK. `sdk` is a link to the SDK's own directory: cargo puts the files behind it into a package of this
/// crate, which has nothing outside of its own directory.
macro_rules! sdk {
    ($file:literal) => {
        include_str!(concat!("../sdk/", $file))
    };
}

/// The modules that a script can import, and those that evaluate it: names and sources in TypeScript. The module `./x.ts` of the
/// SDK or of the engine has the name `bennu/x.ts`.
pub const MODULES: [(&str, &str); 19] = [
    ("bennu:entry", include_str!("../js/entry.ts")),
    ("bennu:globals", include_str!("../js/globals.ts")),
    ("bennu/clone.ts", include_str!("../js/clone.ts")),
    ("bennu/codec.ts", include_str!("../js/codec.ts")),
    ("bennu", sdk!("index.ts")),
    ("bennu/callbacks.ts", sdk!("callbacks.ts")),
    ("bennu/channel.ts", sdk!("channel.ts")),
    ("bennu/console.ts", sdk!("console.ts")),
    ("bennu/gatekeeper.ts", sdk!("gatekeeper.ts")),
    ("bennu/token.ts", sdk!("token.ts")),
    ("bennu/state.ts", sdk!("state.ts")),
    ("bennu/payload.ts", sdk!("payload.ts")),
    ("bennu/http.ts", sdk!("http.ts")),
    ("bennu/phase.ts", sdk!("phase.ts")),
    ("bennu/problem.ts", sdk!("problem.ts")),
    ("bennu/schedule.ts", sdk!("schedule.ts")),
    ("bennu/stored.ts", sdk!("stored.ts")),
    ("bennu/text.ts", sdk!("text.ts")),
    ("bennu/topic.ts", sdk!("topic.ts")),
];
