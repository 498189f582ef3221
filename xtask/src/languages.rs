//! The plugin `echo` of the benchmarks in other languages.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::compilers::Compilers;
use crate::{node, places, process, python};

/// The npm package that makes components of JavaScript.
const COMPONENTIZE_QJS: &str = "componentize-qjs@0.4.5";

/// How often each plugin is built: once as it is, and once after an edit.
const VARIANTS: usize = 2;

/// Builds the plugins. Returns the arguments of `bennu-bench languages` that name them.
pub(crate) fn build() -> Result<Vec<OsString>> {
    let folder = places::target().join("languages");
    let compilers = Compilers::find()?;
    let all = [
        ("Go", go(&folder, &compilers, |source| source)?),
        ("C", c(&folder, &compilers)?),
        ("Python", python(&folder, |source| source)?),
        ("JavaScript, a component", javascript(&folder)?),
    ];
    Ok(all.iter().flat_map(|(name, files)| ["--language".into(), argument(name, files)]).collect())
}

/// Builds a plugin in Go and one in Python with topics of their own. Returns the arguments of `bennu-bench scripts` that name them.
pub(crate) fn for_a_start() -> Result<Vec<OsString>> {
    let folder = places::target().join("languages").join("start");
    let compilers = Compilers::find()?;
    let go = go(&folder, &compilers, |source| source.replace("bench:", "go:"))?;
    let python = python(&folder, |source| source.replace("bench:", "python:"))?;
    Ok([go, python].into_iter().flat_map(|[file, _]| ["--also".into(), file.into_os_string()]).collect())
}

/// The form `NAME=FILE,EDITED`.
fn argument(name: &str, [file, edited]: &[PathBuf; VARIANTS]) -> OsString {
    let mut argument = OsString::from(format!("{name}="));
    argument.push(file);
    argument.push(",");
    argument.push(edited);
    argument
}

/// A source in `bench/scripts`, and the same with this text in place of that one. `change` changes both.
fn variants(file: &str, before: &str, after: &str, change: impl Fn(String) -> String) -> Result<[String; VARIANTS]> {
    let path = places::root().join("bench/scripts").join(file);
    let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let edited = source.replace(before, after);
    Ok([source, edited].map(change))
}

/// Calls `build` with a folder for each variant, which has the source in this file.
fn built(
    folder: &Path,
    file: &str,
    variants: [String; VARIANTS],
    build: impl Fn(&Path, &Path) -> Result<()>,
) -> Result<[PathBuf; VARIANTS]> {
    let mut components = [PathBuf::new(), PathBuf::new()];
    for (at, (component, source)) in components.iter_mut().zip(variants).enumerate() {
        let place = folder.join(format!("{file}-{}", at + 1));
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        fs::write(place.join(file), source)?;
        *component = place.join("echo.wasm");
        build(&place, component)?;
    }
    Ok(components)
}

/// Python: componentize-py is in an environment of its own.
fn python(folder: &Path, change: impl Fn(String) -> String) -> Result<[PathBuf; VARIANTS]> {
    let (root, environment) = (places::root(), places::target().join("languages").join("python"));
    python::environment(&environment, &root.join("templates/files/python/requirements.txt"))?;
    built(folder, "echo.py", variants("echo.py", "\"build\": 1", "\"build\": 2", change)?, |place, component| {
        let mut build = python::command(&environment);
        build.arg("-B").arg(root.join("sdk/python/bennu")).arg("build").arg(place.join("echo.py"));
        build.arg("--output").arg(component).arg("--contract").arg(root.join("wit"));
        process::run_quietly("building the plugin in Python", &mut build)
    })
}

/// Go: a module whose SDK is the one of the repository. The options are those of `bennu build`.
fn go(folder: &Path, compilers: &Compilers, change: impl Fn(String) -> String) -> Result<[PathBuf; VARIANTS]> {
    let (root, path) = (places::root(), compilers.path()?);
    built(folder, "echo.go", variants("echo.go", "\"build\": 1", "\"build\": 2", change)?, |place, component| {
        let sdk = root.join("sdk/go");
        let module = format!(
            "module echo\n\ngo 1.25\n\nrequire bennu.dev/bennu v0.1.0\n\nreplace bennu.dev/bennu => {}\n",
            sdk.display()
        );
        fs::write(place.join("go.mod"), module)?;
        let mut build = Command::new("go");
        build.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-w", "-o"]).arg(component).arg(".");
        build.current_dir(place).env("PATH", &path).env("GOOS", "wasip1").env("GOARCH", "wasm");
        process::run_quietly("building the plugin in Go", &mut build)
    })
}

/// JavaScript: a component that has QuickJS in it, against the contract alone.
fn javascript(folder: &Path) -> Result<[PathBuf; VARIANTS]> {
    let (root, tools) = (places::root(), folder.join("javascript"));
    node::add(&tools, COMPONENTIZE_QJS)?;
    let program = tools.join("node_modules").join("componentize-qjs").join("cli.mjs");
    let sources = variants("echo_component.js", "build: 1", "build: 2", |source| source)?;
    built(folder, "echo_component.js", sources, |place, component| {
        let mut build = Command::new(node::find()?);
        build.arg(&program).arg("--wit").arg(root.join("wit")).args(["-n", "plugin", "--sync", "--js"]);
        build.arg(place.join("echo_component.js")).arg("-o").arg(component);
        process::run_quietly("building the plugin in JavaScript", &mut build)
    })
}

/// C: with the bindings that wit-bindgen writes.
fn c(folder: &Path, compilers: &Compilers) -> Result<[PathBuf; VARIANTS]> {
    let (root, path) = (places::root(), compilers.path()?);
    built(folder, "echo.c", variants("echo.c", "\"ok\"", "\"error\"", |source| source)?, |place, component| {
        let mut bindings = Command::new("wit-bindgen");
        bindings.args(["c", "--world", "plugin"]).arg(root.join("wit")).current_dir(place).env("PATH", &path);
        process::run_quietly("writing the bindings for C", &mut bindings)?;
        let mut build = Command::new("python-zig");
        build.args(["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Os"]);
        build.args(["echo.c", "plugin.c", "plugin_component_type.o", "-o"]).arg(component);
        build.current_dir(place).env("PATH", &path);
        process::run_quietly("building the plugin in C", &mut build)
    })
}
