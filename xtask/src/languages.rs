//! The plugin `echo` of the benchmarks in other languages.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{places, process, python};

/// Builds the plugins. Returns the arguments of `bennu-bench languages` that name them.
pub(crate) fn build() -> Result<Vec<OsString>> {
    let folder = places::target().join("languages");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(vec!["--language".into(), python(&folder)?])
}

/// Python: once as it is, and once after an edit. componentize-py is in an environment of its own.
fn python(folder: &Path) -> Result<OsString> {
    let (root, environment) = (places::root(), folder.join("python"));
    python::environment(&environment, &root.join("templates/files/python/requirements.txt"))?;
    let source = fs::read_to_string(root.join("bench/scripts/echo.py"))?;
    let mut language = OsString::from("Python=");
    for (at, text) in [source.clone(), source.replace("\"build\": 1", "\"build\": 2")].iter().enumerate() {
        let place = folder.join(format!("python-{}", at + 1));
        fs::create_dir_all(&place)?;
        fs::write(place.join("echo.py"), text)?;
        let component = place.join("echo.wasm");
        let mut build = python::command(&environment);
        build.arg("-B").arg(root.join("sdk/python/bennu")).arg("build").arg(place.join("echo.py"));
        build.arg("--output").arg(&component).arg("--contract").arg(root.join("wit"));
        process::run_quietly("building the plugin in Python", &mut build)?;
        language.push(if at == 0 { "" } else { "," });
        language.push(component);
    }
    Ok(language)
}
