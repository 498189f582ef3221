//! What the engine imports of WASI. QuickJS asks for the time and a random seed while it starts. If the runtime panics, it writes
//! a message to its standard error, which becomes the text of the fault. Nothing else is there: any other function ends the call.

use anyhow::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::super::guest::Guest;

/// The version of WASI that the runtime was built for.
macro_rules! wasi {
    ($name:literal) => {
        concat!("wasi:", $name, "@0.2.9")
    };
}

/// A time, as WASI counts it.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// The standard error. There is one, so its handle has no meaning.
struct OutputStream;

/// WASI's resource for errors of streams. There are none.
struct StreamProblem;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<StreamProblem>),
    #[component(name = "closed")]
    Closed,
}

const NANOSECONDS: u64 = 1_000_000;

/// The number of bytes that the standard error accepts at once.
const ACCEPTS: u64 = 4096;

type Context<'a> = StoreContextMut<'a, Guest>;

/// Adds the functions to a linker.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    let mut clock = linker.instance(wasi!("clocks/wall-clock"))?;
    clock.func_wrap("now", |store: Context<'_>, (): ()| {
        let now = store.data().now_ms();
        let nanoseconds = u32::try_from(now % 1000 * NANOSECONDS).unwrap_or_default();
        Ok((Datetime { seconds: now / 1000, nanoseconds },))
    })?;
    let mut clock = linker.instance(wasi!("clocks/monotonic-clock"))?;
    clock.func_wrap("now", |store: Context<'_>, (): ()| Ok((store.data().now_ms().saturating_mul(NANOSECONDS),)))?;
    let mut seed = linker.instance(wasi!("random/insecure-seed"))?;
    seed.func_wrap("insecure-seed", |mut store: Context<'_>, (): ()| {
        Ok(((store.data_mut().random_number()?, store.data_mut().random_number()?),))
    })?;
    let mut environment = linker.instance(wasi!("cli/environment"))?;
    environment.func_wrap("get-environment", |_: Context<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    add_standard_error(linker)
}

fn add_standard_error(linker: &mut Linker<Guest>) -> Result<()> {
    // Each interface that uses these resources has them as its own exports, too.
    for (interface, has_error, has_stream) in [
        (wasi!("io/error"), true, false),
        (wasi!("io/streams"), true, true),
        (wasi!("cli/stdout"), false, true),
        (wasi!("cli/stderr"), false, true),
        (wasi!("filesystem/types"), true, true),
    ] {
        let mut instance = linker.instance(interface)?;
        if has_error {
            instance.resource("error", ResourceType::host::<StreamProblem>(), |_, _| Ok(()))?;
        }
        if has_stream {
            instance.resource("output-stream", ResourceType::host::<OutputStream>(), |_, _| Ok(()))?;
        }
    }
    let mut streams = linker.instance(wasi!("io/streams"))?;
    streams.func_wrap("[method]output-stream.check-write", |_: Context<'_>, (_,): (Resource<OutputStream>,)| {
        Ok((Result::<u64, StreamError>::Ok(ACCEPTS),))
    })?;
    let write = |mut store: Context<'_>, (_, bytes): (Resource<OutputStream>, Vec<u8>)| {
        store.data_mut().add_last_words(&String::from_utf8_lossy(&bytes));
        Ok((Result::<(), StreamError>::Ok(()),))
    };
    streams.func_wrap("[method]output-stream.write", write)?;
    streams.func_wrap("[method]output-stream.blocking-flush", |_: Context<'_>, (_,): (Resource<OutputStream>,)| {
        Ok((Result::<(), StreamError>::Ok(()),))
    })?;
    let mut stderr = linker.instance(wasi!("cli/stderr"))?;
    stderr.func_wrap("get-stderr", |_: Context<'_>, (): ()| Ok((Resource::<OutputStream>::new_own(0),)))?;
    Ok(())
}
