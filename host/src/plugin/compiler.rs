//! The compiler's threads: one for each component, and of low priority, so that no channel feels a reload.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::Component;

use super::cache::Cache;
use super::{Anatomy, Digest};

/// How much a compiling thread gives way (`nice`).
const NICENESS: i32 = 10;

/// A component's outside and compiled form, and whether that was found in the cache.
pub(super) struct Compiled {
    pub(super) anatomy: Anatomy,
    pub(super) component: Component,
    pub(super) was_cached: bool,
}

/// Reads the anatomy, and finds or makes the compiled form, in a thread of its own. The thread drops `held` when it ends, which
/// is later than the future does if that is dropped: compiling can't be broken off.
pub(super) async fn compile(
    engine: wasmtime::Engine,
    cache: Option<Cache>,
    digest: Digest,
    bytes: Bytes,
    held: impl Send + 'static,
) -> Result<Compiled> {
    let (done, result) = oneshot::channel();
    let work = move || {
        give_way();
        let found = find_or_compile(&engine, cache.as_ref(), &digest, &bytes);
        drop(held);
        // Nobody waits any more if the host is stopping, or the file has changed.
        let _ = done.send(found);
    };
    std::thread::Builder::new().name("bennu-compile".into()).spawn(work).context("starting a thread to compile in")?;
    result.await.map_err(|_| anyhow!("the compiler died; this is a fault of the host"))?
}

fn find_or_compile(
    engine: &wasmtime::Engine,
    cache: Option<&Cache>,
    digest: &Digest,
    bytes: &[u8],
) -> Result<Compiled> {
    let anatomy = Anatomy::read(bytes)?;
    if let Some(component) = cache.and_then(|cache| cache.find(engine, digest)) {
        return Ok(Compiled { anatomy, component, was_cached: true });
    }
    let component = make(engine, cache, digest, bytes)?;
    Ok(Compiled { anatomy, component, was_cached: false })
}

fn make(engine: &wasmtime::Engine, cache: Option<&Cache>, digest: &Digest, bytes: &[u8]) -> Result<Component> {
    let refused = "it is no valid component; build it again with a current toolchain";
    let component = Component::from_binary(engine, bytes).map_err(anyhow::Error::from).context(refused)?;
    if let Some(cache) = cache {
        let stored = component.serialize().map_err(anyhow::Error::from);
        if let Err(error) = stored.and_then(|code| cache.store(engine, digest, &code)) {
            tracing::warn!("a compiled plugin could not be kept: {error:#}");
        }
    }
    Ok(component)
}

/// On Linux a thread has a priority of its own.
fn give_way() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!("the compiler keeps its priority: {error}");
    }
}
