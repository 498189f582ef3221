//! The types of WASI that the host's functions use.

use wasmtime::component::{ComponentType, Lift, Lower, Resource};

/// A file or a directory; there is none.
pub(super) struct Descriptor;
/// The standard input.
pub(super) struct InputStream;
/// An error of a stream; there is none.
pub(super) struct IoError;
/// The network, which has no sockets.
pub(super) struct Network;
/// The standard output or the standard error.
pub(super) struct OutputStream;
/// An event, which has always occurred.
pub(super) struct Pollable;
/// A terminal that is read; there is none.
pub(super) struct TerminalInput;
/// A terminal that is written to. The standard output says that it is one, so that programs write each line at once.
pub(super) struct TerminalOutput;

/// Why a stream can't be read or written.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "the type must have all cases")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// A time of the wall clock.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Datetime {
    /// Seconds since 1970.
    pub(super) seconds: u64,
    /// The rest, in nanoseconds.
    pub(super) nanoseconds: u32,
}
