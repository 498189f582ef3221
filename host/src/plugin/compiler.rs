//! Compiles components, each in a thread of its own with low priority, so that a reload doesn't slow channels down.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::Component;

use super::cache::Cache;
use super::{Anatomy, Digest};

/// The `nice` value of a compiling thread.
const NICENESS: i32 = 10;

/// A component's anatomy and compiled form, and whether the compiled form was in the cache.
pub(super) struct Compiled {
    pub(super) anatomy: Anatomy,
    pub(super) component: Component,
    pub(super) was_cached: bool,
}

/// Reads the anatomy, and finds or makes the compiled form, in a separate thread. The thread drops `held` when it
/// ends. If the future is dropped, the thread still continues, because compiling can't be interrupted.
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
        // The receiver is gone if the host is stopping or the file has changed.
        let _ = done.send(found);
    };
    std::thread::Builder::new().name("bennu-compile".into()).spawn(work).context("starting a thread to compile in")?;
    result.await.map_err(|_| anyhow!("the compiling thread panicked; this is a fault of the host"))?
}

/// Finds or makes the compiled form of the engine of scripts, in a separate thread.
pub(super) async fn compile_engine(
    engine: wasmtime::Engine,
    cache: Option<Cache>,
    digest: Digest,
    bytes: &'static [u8],
) -> Result<Compiled> {
    let work = move || {
        give_way();
        let anatomy = Anatomy::of_engine(bytes)?;
        if let Some(component) = cache.as_ref().and_then(|cache| cache.find(&engine, &digest)) {
            return Ok(Compiled { anatomy, component, was_cached: true });
        }
        let component = make(&engine, cache.as_ref(), &digest, bytes)?;
        Ok(Compiled { anatomy, component, was_cached: false })
    };
    in_thread(work).await
}

/// Runs work in a thread of its own.
pub(super) async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    let work = move || {
        // The receiver is gone if the host is stopping or the file has changed.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("bennu-compile".into()).spawn(work).context("starting a thread to compile in")?;
    result.await.map_err(|_| anyhow!("the compiling thread panicked; this is a fault of the host"))?
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
    let refused = "it is not a valid component; build it again with a current toolchain";
    let component = Component::from_binary(engine, bytes).map_err(anyhow::Error::from).context(refused)?;
    if let Some(cache) = cache {
        let stored = component.serialize().map_err(anyhow::Error::from);
        if let Err(error) = stored.and_then(|code| cache.store(engine, digest, &code)) {
            tracing::warn!("a compiled plugin could not be stored in the cache: {error:#}");
        }
    }
    Ok(component)
}

/// Lowers the priority of this thread. On Linux, each thread has its own priority.
fn give_way() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!("the priority of a compiling thread could not be lowered: {error}");
    }
}
