//! The servers that are compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::host::{script, target};
use crate::load::Dialect;
use crate::target::{Hosted, Target};

/// A way to start a server.
#[derive(Clone)]
pub(crate) enum ServerKind {
    Floor,
    Host(Hosted),
    Program { program: PathBuf, argument: Option<PathBuf>, dialect: Dialect },
}

impl ServerKind {
    pub(crate) fn start(&self) -> Result<Target> {
        match self {
            Self::Floor => Target::floor(),
            Self::Host(hosted) => Ok(hosted.start()?.into()),
            Self::Program { program, argument, dialect } => {
                Target::start(Command::new(program).args(argument), *dialect)
            }
        }
    }
}

/// All servers, each with its name in the tables. The others are compared with the first.
pub(super) struct Servers {
    pub(super) all: Vec<(String, ServerKind)>,
    /// Only the floor and the host.
    pub(super) ours: Vec<(String, ServerKind)>,
    /// The floor, the host, and a host whose channel is native code.
    pub(super) native: Vec<(String, ServerKind)>,
    /// A host whose channel is in Rust, and one whose channel is in TypeScript.
    pub(super) languages: Vec<(String, ServerKind)>,
    pub(super) host: ServerKind,
}

impl Servers {
    pub(super) fn new(hosted: &Hosted, beside: &[(String, PathBuf)], peers: bool) -> Self {
        let host = ServerKind::Host(hosted.clone());
        let ours = vec![("floor".to_owned(), ServerKind::Floor), ("bennu".to_owned(), host.clone())];
        let program = target().join("release/bennu-native");
        let native = ServerKind::Program { program, argument: None, dialect: Dialect::Phoenix };
        let native = [ours.clone(), vec![("native".to_owned(), native)]].concat();
        let typescript = ServerKind::Host(Hosted { plugins: vec![script()], ..hosted.clone() });
        let languages = vec![("Rust".to_owned(), host.clone()), ("TypeScript".to_owned(), typescript)];
        let mut all = ours.clone();
        for (name, program) in beside {
            let program = ServerKind::Program { program: program.clone(), argument: None, dialect: Dialect::Phoenix };
            all.push((name.clone(), program));
        }
        if peers {
            all.extend(self::peers());
        }
        Self { all, ours, native, languages, host }
    }

    /// Two builds of the host, the old one first.
    pub(super) fn builds(new: &Hosted, old: &Path) -> Self {
        let host = ServerKind::Host(new.clone());
        let old = ServerKind::Host(Hosted { host: old.to_owned(), ..new.clone() });
        let builds = vec![("old".to_owned(), old), ("new".to_owned(), host.clone())];
        Self { all: builds.clone(), ours: builds, native: Vec::new(), languages: Vec::new(), host }
    }
}

/// Servers by others, which `cargo xtask bench --peers` builds.
fn peers() -> [(String, ServerKind); 3] {
    let peers = target().join("peers");
    let built = |name: &str| peers.join("release").join(name);
    let script = peers.join("socket-io/server.mjs");
    [
        ("axum", built("axum-channels"), None, Dialect::Phoenix),
        ("socketioxide", built("socketioxide-channels"), None, Dialect::SocketIo),
        ("Socket.IO", "node".into(), Some(script), Dialect::SocketIo),
    ]
    .map(|(name, program, argument, dialect)| (name.to_owned(), ServerKind::Program { program, argument, dialect }))
}
