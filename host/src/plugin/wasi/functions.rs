//! The functions of WASI that do something.

use std::any::Any;

use wasmtime::component::{LinkerInstance, Resource};
use wasmtime::{Result, StoreContextMut};

use super::super::bindings::bennu::channel::host::StandardStream;
use super::super::guest::Guest;
use super::RESOURCES_MAX;
use super::types::{
    Datetime, Descriptor, InputStream, Network, OutputStream, Pollable, StreamError, TerminalInput, TerminalOutput,
};
use crate::contract::{DETAIL_BYTES_MAX, Fault};

type Instance<'a, 'b> = &'a mut LinkerInstance<'b, Guest>;
type Store<'a> = StoreContextMut<'a, Guest>;

/// The numbers by which the host knows the two output streams.
const OUTPUT: u32 = 1;
const ERROR: u32 = 2;

/// The maximum number of random bytes of one function call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// The nanoseconds of a millisecond, which is the resolution of both clocks.
const MILLISECOND: u64 = 1_000_000;

/// Defines a function, if it is one of those that do something. Returns whether it is. `interface` has no version.
pub(super) fn add(instance: Instance<'_, '_>, interface: &str, name: &str) -> Result<bool> {
    match interface.strip_prefix("wasi:").unwrap_or_default() {
        "cli/environment"
        | "cli/exit"
        | "cli/stdin"
        | "cli/stdout"
        | "cli/stderr"
        | "cli/terminal-stdin"
        | "cli/terminal-stdout"
        | "cli/terminal-stderr" => add_cli(instance, name),
        "clocks/monotonic-clock" => add_monotonic_clock(instance, name),
        "clocks/wall-clock" => add_wall_clock(instance, name),
        "io/poll" => add_poll(instance, name),
        "io/streams" => add_streams(instance, name),
        "random/random" | "random/insecure" | "random/insecure-seed" => add_random(instance, name),
        "filesystem/preopens" | "sockets/instance-network" => add_roots(instance, name),
        _ => Ok(false),
    }
}

fn add_cli(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "get-environment" => instance.func_wrap(name, |_: Store<'_>, ()| Ok((Vec::<(String, String)>::new(),)))?,
        "get-arguments" => instance.func_wrap(name, |_: Store<'_>, ()| Ok((Vec::<String>::new(),)))?,
        "initial-cwd" => instance.func_wrap(name, |_: Store<'_>, ()| Ok((None::<String>,)))?,
        "exit" => instance.func_wrap(name, |_: Store<'_>, (status,): (Result<(), ()>,)| {
            Err::<(), _>(Fault::exited(status.is_err().into()).into())
        })?,
        "exit-with-code" => instance
            .func_wrap(name, |_: Store<'_>, (status,): (u8,)| Err::<(), _>(Fault::exited(status.into()).into()))?,
        "get-stdin" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((new::<InputStream>(&mut store, 0)?,)))?
        }
        "get-stdout" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((new::<OutputStream>(&mut store, OUTPUT)?,)))?;
        }
        "get-stderr" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((new::<OutputStream>(&mut store, ERROR)?,)))?;
        }
        "get-terminal-stdin" => instance.func_wrap(name, |_: Store<'_>, ()| Ok((None::<Resource<TerminalInput>>,)))?,
        "get-terminal-stdout" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((Some(new::<TerminalOutput>(&mut store, 0)?),)))?;
        }
        // Programs write the standard error at once anyway, and colours would be in the log.
        "get-terminal-stderr" => {
            instance.func_wrap(name, |_: Store<'_>, ()| Ok((None::<Resource<TerminalOutput>>,)))?
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn add_monotonic_clock(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "now" => instance.func_wrap(name, |mut store: Store<'_>, ()| {
            let guest = store.data_mut();
            guest.wasi.latest_ms = guest.wasi.latest_ms.max(guest.now_ms());
            Ok((guest.wasi.latest_ms.saturating_mul(MILLISECOND),))
        })?,
        "resolution" => instance.func_wrap(name, |_: Store<'_>, ()| Ok((MILLISECOND,)))?,
        "subscribe-instant" | "subscribe-duration" => {
            instance.func_wrap(name, |mut store: Store<'_>, (_,): (u64,)| Ok((new::<Pollable>(&mut store, 0)?,)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn add_wall_clock(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "now" => instance.func_wrap(name, |store: Store<'_>, ()| {
            let now = store.data().now_ms();
            let nanoseconds = u32::try_from(now % 1000 * MILLISECOND).unwrap_or_default();
            Ok((Datetime { seconds: now / 1000, nanoseconds },))
        })?,
        "resolution" => instance.func_wrap(name, |_: Store<'_>, ()| {
            Ok((Datetime { seconds: 0, nanoseconds: u32::try_from(MILLISECOND).unwrap_or_default() },))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Everything is ready, so nothing waits.
fn add_poll(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "[method]pollable.ready" => {
            instance.func_wrap(name, |_: Store<'_>, (_,): (Resource<Pollable>,)| Ok((true,)))?
        }
        "[method]pollable.block" => instance.func_wrap(name, |_: Store<'_>, (_,): (Resource<Pollable>,)| Ok(()))?,
        "poll" => instance.func_wrap(name, |_: Store<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
            Ok(((0..u32::try_from(pollables.len()).unwrap_or_default()).collect::<Vec<u32>>(),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn add_streams(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    if let Some(function) = name.strip_prefix("[method]input-stream.") {
        return add_input_stream(instance, name, function);
    }
    type Written = (Result<(), StreamError>,);
    match name.strip_prefix("[method]output-stream.").unwrap_or_default() {
        "check-write" => instance.func_wrap(name, |_: Store<'_>, (_,): (Resource<OutputStream>,)| {
            Ok((Ok::<u64, StreamError>(DETAIL_BYTES_MAX as u64),))
        })?,
        "write" | "blocking-write-and-flush" => {
            let write = |mut store: Store<'_>, (stream, text): (Resource<OutputStream>, Vec<u8>)| {
                let stream = if stream.rep() == ERROR { StandardStream::Error } else { StandardStream::Output };
                store.data_mut().print(stream, &text)?;
                Ok::<Written, _>((Ok(()),))
            };
            instance.func_wrap(name, write)?;
        }
        "flush" | "blocking-flush" => {
            instance.func_wrap(name, |_: Store<'_>, (_,): (Resource<OutputStream>,)| Ok::<Written, _>((Ok(()),)))?;
        }
        "subscribe" => instance.func_wrap(name, |mut store: Store<'_>, (_,): (Resource<OutputStream>,)| {
            Ok((new::<Pollable>(&mut store, 0)?,))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The standard input is at its end.
fn add_input_stream(instance: Instance<'_, '_>, name: &str, function: &str) -> Result<bool> {
    match function {
        "read" | "blocking-read" => instance
            .func_wrap(name, |_: Store<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            })?,
        "skip" | "blocking-skip" => instance
            .func_wrap(name, |_: Store<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            })?,
        "subscribe" => instance.func_wrap(name, |mut store: Store<'_>, (_,): (Resource<InputStream>,)| {
            Ok((new::<Pollable>(&mut store, 0)?,))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn add_random(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((store.data_mut().random_number()?,)))?;
        }
        "get-random-bytes" | "get-insecure-random-bytes" => {
            instance.func_wrap(name, |mut store: Store<'_>, (length,): (u64,)| {
                Ok((random_bytes(store.data_mut(), length)?,))
            })?;
        }
        "insecure-seed" => instance.func_wrap(name, |mut store: Store<'_>, ()| {
            let guest = store.data_mut();
            Ok(((guest.random_number()?, guest.random_number()?),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn random_bytes(guest: &mut Guest, length: u64) -> Result<Vec<u8>, Fault> {
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= RANDOM_BYTES_MAX) else {
        return Err(Fault::oversize(format!("a plugin gets at most {RANDOM_BYTES_MAX} random bytes at once")));
    };
    let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
    while bytes.len() < length {
        bytes.extend(guest.random_number()?.to_le_bytes());
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// What a program begins with: no directories, and a network without sockets.
fn add_roots(instance: Instance<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "get-directories" => {
            instance.func_wrap(name, |_: Store<'_>, ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))?;
        }
        "instance-network" => {
            instance.func_wrap(name, |mut store: Store<'_>, ()| Ok((new::<Network>(&mut store, 0)?,)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Makes a resource for the instance.
///
/// # Errors
/// Returns a fault if the instance holds too many.
fn new<T: Any + Send>(store: &mut Store<'_>, number: u32) -> Result<Resource<T>, Fault> {
    let state = &mut store.data_mut().wasi;
    if state.resources >= RESOURCES_MAX {
        let detail = format!("an instance holds at most {RESOURCES_MAX} streams, events and other resources of WASI");
        return Err(Fault::oversize(detail));
    }
    state.resources += 1;
    Ok(Resource::new_own(number))
}
