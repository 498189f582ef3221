//! The templates of projects in Rust, with their own tests. `tests/phoenix/projects.test.mjs` has whole projects.

/// The lints of the workspace aren't those of a project.
macro_rules! template {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
        mod $name;
    };
}

template!(chat, "../../../templates/files/chat/lib.rs");
template!(game, "../../../templates/files/game/lib.rs");
template!(notifications, "../../../templates/files/notifications/lib.rs");
template!(room, "../../../templates/files/room/lib.rs");
