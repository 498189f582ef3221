//! Compiles components, each in threads of its own with low priority, so that a reload doesn't slow channels down.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime::component::Component;

use super::cache::Cache;
use super::functions::FunctionCache;
use super::source_lines::SourceLines;
use super::{Anatomy, Digest, Engine, Tools, core_module};
use crate::timing::give_way;

/// The name of a compiling thread.
const THREAD: &str = "bennu-compile";

/// The maximum number of threads that compile one component.
const THREADS_MAX: usize = 8;

/// A component's anatomy and compiled form, and whether the compiled form was in the cache.
pub(super) struct Compiled {
    pub(super) anatomy: Anatomy,
    pub(super) tools: Tools,
    pub(super) component: Component,
    pub(super) was_cached: bool,
    /// The component's debug information, if it has any.
    pub(super) lines: Option<Arc<SourceLines>>,
}

/// Wraps a core module, reads the anatomy, and finds or makes the compiled form, in a separate thread. The thread drops
/// `held` when it ends. If the future is dropped, the thread still continues, because compiling can't be interrupted.
pub(super) async fn compile(
    engine: Engine,
    cache: Option<Cache>,
    digest: Digest,
    bytes: Bytes,
    held: impl Send + 'static,
) -> Result<Compiled> {
    in_thread(move || {
        let found = find_or_compile(&engine, cache.as_ref(), &digest, &bytes);
        drop(held);
        found
    })
    .await
}

/// Finds or makes the compiled form of the engine of scripts, in a separate thread.
pub(super) async fn compile_engine(
    engine: Engine,
    cache: Option<Cache>,
    digest: Digest,
    bytes: &'static [u8],
) -> Result<Compiled> {
    in_thread(move || {
        let anatomy = Anatomy::of_engine(bytes)?;
        let (component, was_cached) = component_of(&engine, cache.as_ref(), &digest, bytes)?;
        Ok(Compiled { anatomy, tools: Tools::read(bytes), component, was_cached, lines: None })
    })
    .await
}

/// Runs work in a thread of its own, with low priority.
pub(super) async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    let work = move || {
        give_way();
        // The receiver is gone if the host is stopping or the file has changed.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name(THREAD.into()).spawn(work).context("starting a thread to compile in")?;
    result.await.map_err(|_| anyhow!("the compiling thread panicked; this is a fault of the host"))?
}

/// `digest` is the digest of the file, also if the file is a core module. So the compiled form is found without regard to
/// how the host wraps it; [`Cache`] takes care that another host's isn't.
fn find_or_compile(engine: &Engine, cache: Option<&Cache>, digest: &Digest, bytes: &[u8]) -> Result<Compiled> {
    let component = core_module::to_component(bytes)?;
    let (anatomy, tools) = (Anatomy::read(&component)?, Tools::read(bytes));
    let lines = SourceLines::read(&component).map(Arc::new);
    let (component, was_cached) = component_of(engine, cache, digest, &component)?;
    Ok(Compiled { anatomy, tools, component, was_cached, lines })
}

/// Finds or makes the compiled form of a component. Also returns whether it was in the cache.
fn component_of(
    engine: &Engine,
    cache: Option<&Cache>,
    digest: &Digest,
    component: &[u8],
) -> Result<(Component, bool)> {
    if let Some(component) = cache.and_then(|cache| cache.find(&engine.wasm, digest)) {
        return Ok((component, true));
    }
    Ok((make(&engine.wasm, &engine.functions, cache, digest, component)?, false))
}

/// Compiles the functions of a component on several processors. Each compilation has threads of its own: in a shared
/// pool, a small component would wait until a large one is compiled. They end with the compilation.
fn compile_all(
    engine: &wasmtime::Engine,
    functions: &FunctionCache,
    cache: Option<&Cache>,
    bytes: &[u8],
) -> Result<Component> {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let pool = |threads| {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        builder.thread_name(|_| THREAD.into()).start_handler(|_| give_way()).build()
    };
    // With little address space, there may be no room for the stacks of several threads.
    let threads = pool(processors.min(THREADS_MAX)).or_else(|_| pool(1)).context("starting threads to compile in")?;
    let _using = cache.map(|cache| functions.begin(cache.functions(engine)));
    let component = threads.install(|| Component::from_binary(engine, bytes));
    component.map_err(|error| refusal(&error))
}

fn make(
    engine: &wasmtime::Engine,
    functions: &FunctionCache,
    cache: Option<&Cache>,
    digest: &Digest,
    bytes: &[u8],
) -> Result<Component> {
    let component = compile_all(engine, functions, cache, bytes)?;
    if let Some(cache) = cache {
        let stored = component.serialize().map_err(anyhow::Error::from);
        if let Err(error) = stored.and_then(|code| cache.store(engine, digest, &code)) {
            tracing::warn!("a compiled plugin could not be stored in the cache: {error:#}");
        }
    }
    Ok(component)
}

/// Explains why wasmtime refuses a component.
fn refusal(error: &wasmtime::Error) -> anyhow::Error {
    let why = format!("{error:#}");
    if why.contains("component model async") || why.contains("concurrency support") {
        return anyhow!(
            "it uses the asynchronous functions of the component model, which this host does not have; build it without \
             them, with `--sync` of componentize-qjs, or without `async` in its bindings ({why})"
        );
    }
    anyhow!("it is not a valid component; build it again with a current toolchain: {why}")
}
