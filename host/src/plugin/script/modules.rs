//! What the engine imports next to the contract: the source of modules, and the report of a script's callbacks.

use std::sync::Arc;

use anyhow::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::super::guest::Guest;
use super::{Script, engine_module, source};

/// The name by which the engine's own modules import the script.
const SCRIPT: &str = "bennu:script";

/// Adds the functions to a linker.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    let mut loader = linker.instance("local:init/module-loader")?;
    loader.func_wrap("resolve", |store: StoreContextMut<'_, Guest>, (referrer, name): (String, String)| {
        Ok((resolve(script_of(&store), &referrer, name),))
    })?;
    loader.func_wrap("load", |store: StoreContextMut<'_, Guest>, (name,): (String,)| {
        Ok((load(script_of(&store), &name),))
    })?;
    let mut report = linker.instance("bennu:engine/script@0.1.0")?;
    report.func_wrap("offers", |mut store: StoreContextMut<'_, Guest>, (callbacks,): (Vec<String>,)| {
        if let Some(evaluation) = &mut store.data_mut().evaluation {
            evaluation.offers = callbacks;
        }
        Ok(())
    })?;
    report.func_wrap("failed", |mut store: StoreContextMut<'_, Guest>, (problem,): (String,)| {
        if let Some(evaluation) = &mut store.data_mut().evaluation {
            evaluation.problem = Some(problem);
        }
        Ok(())
    })?;
    Ok(())
}

fn script_of(store: &StoreContextMut<'_, Guest>) -> Option<Arc<Script>> {
    store.data().context.script.clone()
}

fn resolve(script: Option<Arc<Script>>, referrer: &str, name: String) -> Result<String, String> {
    if name == SCRIPT {
        return Ok(script.map(|script| script.file.clone()).unwrap_or_default());
    }
    let is_own = engine_module(referrer).is_some();
    match name.strip_prefix("./").filter(|_| is_own) {
        Some(sibling) => Ok(format!("bennu/{sibling}")),
        None if engine_module(&name).is_some() => Ok(name),
        None => Err(source::missing(&name)),
    }
}

fn load(script: Option<Arc<Script>>, name: &str) -> Result<String, String> {
    let own = script.filter(|script| script.file == name).map(|script| script.text.clone());
    own.or_else(|| engine_module(name).map(str::to_owned)).ok_or_else(|| source::missing(name))
}
