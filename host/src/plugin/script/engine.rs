//! The engine's component: compiled and linked once for a host.

use anyhow::{Context, Result};
use tokio::sync::OnceCell;
use wasmtime::component::InstancePre;

use super::super::cache::Cache;
use super::super::guest::Guest;
use super::super::{Anatomy, Digest, Engine, compiler, wasi};
use super::modules;

/// The engine of all scripts of a host. It is compiled when the first script is loaded.
#[derive(Default)]
pub(in crate::plugin) struct ScriptEngine(OnceCell<ReadyEngine>);

/// The compiled engine.
pub(in crate::plugin) struct ReadyEngine {
    pub(in crate::plugin) component: InstancePre<Guest>,
    /// The imports and exports of the contract.
    pub(in crate::plugin) anatomy: Anatomy,
    /// Whether the compiled form was in the cache.
    pub(in crate::plugin) was_cached: bool,
}

impl ScriptEngine {
    /// Returns the compiled engine. The first call compiles it.
    pub(in crate::plugin) async fn get(&self, engine: &Engine, cache: Option<&Cache>) -> Result<&ReadyEngine> {
        let ready = self.0.get_or_try_init(async || {
            let bytes = bennu_engine::COMPONENT;
            let compiled = compiler::compile_engine(engine.clone(), cache.cloned(), Digest::of(bytes), bytes).await?;
            let mut linker = wasmtime::component::Linker::clone(&engine.linker);
            wasi::add_to_linker(&mut linker, &compiled.component)?;
            modules::add_to_linker(&mut linker)?;
            let component = linker.instantiate_pre(&compiled.component)?;
            let (anatomy, was_cached) = (compiled.anatomy, compiled.was_cached);
            anyhow::Ok(ReadyEngine { component, anatomy, was_cached })
        });
        ready.await.context("preparing the engine of scripts; this is a fault of the host")
    }
}
