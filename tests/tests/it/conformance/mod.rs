//! Plays the scripts in `tests/scripts` in all test kits and on a real host: natively, compiled, in other languages over
//! JSON lines, as a script of the engine, and through sockets. The result must be the same everywhere.

mod native;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bennu::server::Config;
use bennu_tests::{Setup, bennu, check, places};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tempfile::TempDir;

/// The plugin of the scripts, as native code.
#[path = "../../../../guest-examples/naughty/src/lib.rs"]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::needless_pass_by_value, clippy::must_use_candidate)]
#[allow(unexpected_cfgs, reason = "the plugin has features of its own")]
mod naughty;

/// The plugin's name.
const PLUGIN: &str = "naughty";

/// The build of the plugin that writes another version of entries.
const VARIANT: &str = "variants/naughty-entries";

/// How many scripts each stage skips, according to the scripts.
const SKIPPED: [(&str, usize); 9] = [
    ("native", 1),
    ("compiled", 0),
    ("lines", 1),
    ("node", 1),
    ("engine", 2),
    ("python", 1),
    ("python-compiled", 1),
    ("go-compiled", 1),
    ("host", 2),
];

/// The number of hosts that play scripts at the same time.
const AT_ONCE: usize = 4;

/// A script.
struct Script {
    name: String,
    path: PathBuf,
    text: String,
}

fn folder() -> Result<PathBuf> {
    Ok(places::workspace()?.join("tests/scripts"))
}

/// The scripts that a stage plays.
fn scripts(stage: &str) -> Result<Vec<Script>> {
    let mut paths = Vec::new();
    for entry in folder()?.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "script") {
            paths.push(path);
        }
    }
    paths.sort();
    ensure!(paths.len() > 15, "only {} scripts were found", paths.len());
    let mut played = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !skips(&name, &text)?.contains(&stage.to_owned()) {
            played.push(Script { name, path: path.clone(), text });
        }
    }
    let skipped = paths.len() - played.len();
    let expected = SKIPPED.iter().find(|(name, _)| *name == stage).map(|(_, count)| *count);
    ensure!(expected == Some(skipped), "the stage `{stage}` skips {skipped} scripts, not {expected:?}");
    Ok(played)
}

/// The stages that a script names in lines such as `-- skips native: why`.
fn skips(name: &str, text: &str) -> Result<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("-- skips "));
    let stage = |line: &str| {
        let (stage, why) = line.split_once(": ").with_context(|| format!("{name} doesn't say why it skips {line}"))?;
        ensure!(!why.is_empty() && SKIPPED.iter().any(|(known, _)| *known == stage), "{name}: no such stage: {stage}");
        Ok(stage.to_owned())
    };
    lines.map(stage).collect()
}

#[test]
fn the_native_kit_plays_every_script() -> Result<()> {
    let config = Config::read(&folder()?.join("bennu.toml"))?;
    let granted = config.plugins.get(PLUGIN).context("the plugin is configured")?;
    for script in scripts("native")? {
        native::play(granted, &script.text).with_context(|| script.name.clone())?;
    }
    Ok(())
}

#[test]
fn the_compiled_kit_plays_every_script() -> Result<()> {
    let home = home()?;
    let plugin = places::guest_file(PLUGIN)?.display().to_string();
    // The files of builds in a script are relative to the script.
    std::fs::create_dir(home.path().join("variants"))?;
    for build in [PLUGIN, VARIANT] {
        std::fs::copy(places::guest_file(build)?, home.path().join(build).with_extension("wasm"))?;
    }
    play_compiled(home.path(), &plugin, "compiled")
}

/// The plugin in TypeScript, on the engine of scripts. It uses the whole SDK.
#[test]
fn the_engine_of_scripts_plays_every_script() -> Result<()> {
    let home = home()?;
    bennu_tests::compile_engine_for("naughty.ts")?;
    std::fs::copy(places::workspace()?.join("tests/kit/typescript/naughty.ts"), home.path().join("naughty.ts"))?;
    play_compiled(home.path(), "naughty.ts", "engine")
}

/// A folder with the configuration of the scripts.
fn home() -> Result<TempDir> {
    let home = tempfile::tempdir()?;
    let cache = format!("cache = {:?}\n", places::compiled()?.display().to_string());
    let config = std::fs::read_to_string(folder()?.join("bennu.toml"))?;
    std::fs::write(home.path().join("bennu.toml"), cache + &config)?;
    std::fs::copy(folder()?.join("secret.txt"), home.path().join("secret.txt"))?;
    Ok(home)
}

/// Plays the scripts of a stage with `bennu test`.
fn play_compiled(home: &Path, plugin: &str, stage: &str) -> Result<()> {
    let mut names = Vec::new();
    for Script { name, text, .. } in scripts(stage)? {
        std::fs::write(home.join(&name).with_extension("script"), text)?;
        names.push(format!("{name}.script"));
    }
    let mut arguments = vec!["test", "--config", "bennu.toml", "--log", "off", plugin];
    arguments.extend(names.iter().map(String::as_str));
    let played = bennu(home, &arguments)?;
    ensure!(played.code == Some(0), "{}\n{}", played.output, played.errors);
    ensure!(played.output.lines().count() == names.len(), "{}", played.output);
    Ok(())
}

/// The files of each SDK that are its client of `bennu kit`: they start it, exchange lines with it, run the callbacks that it
/// calls, and read the frames that clients get. What isn't counted is the contract's own functions, one line to `bennu kit` each
/// (`contract.ts`, `_host.py`, `abi/native.go`): these grow with the contract.
const CLIENTS: [&[&str]; 3] = [
    &[
        "sdk/typescript/testing/kit.ts",
        "sdk/typescript/testing/running.ts",
        "sdk/typescript/testing/wire.mjs",
        "sdk/typescript/testing/frames.ts",
    ],
    &["sdk/python/bennu/testing/_kit.py", "sdk/python/bennu/testing/_frames.py"],
    &["sdk/go/internal/kit/doc.go", "sdk/go/internal/kit/kit.go", "sdk/go/internal/kit/frame.go"],
];

/// The maximum number of lines of such a client. A longer one has rules that belong to the host.
const CLIENT_LINES_MAX: usize = 300;

#[test]
fn the_client_of_the_kit_is_small_in_each_sdk() -> Result<()> {
    let workspace = places::workspace()?;
    for files in CLIENTS {
        let lines = |file: &&str| anyhow::Ok(std::fs::read_to_string(workspace.join(file))?.lines().count());
        let lines: usize = files.iter().map(lines).sum::<Result<usize>>()?;
        ensure!(lines <= CLIENT_LINES_MAX, "{files:?}: {lines} lines");
    }
    Ok(())
}

/// Both the plugin and the kit are written in Python. The kit is a small client of `bennu kit`.
#[test]
fn a_kit_in_another_language_plays_every_script() -> Result<()> {
    let kit = places::workspace()?.join("tests/kit");
    let scripts = scripts("lines")?;
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").arg(kit.join("scripts.py"));
    python.arg(places::binary()?).arg(folder()?.join("bennu.toml")).args(scripts.iter().map(|script| &script.path));
    let played = python.output().context("this test needs Python 3.11 or later as `python3`")?;
    ensure!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    ensure!(String::from_utf8_lossy(&played.stdout).lines().count() == scripts.len());
    Ok(())
}

/// Node, with the test kit of the TypeScript SDK, and a module of `tests/kit/typescript`.
fn node(module: &str) -> Result<Command> {
    let workspace = places::workspace()?;
    let mut node = Command::new("node");
    node.env("BENNU", places::binary()?).arg("--import").arg(workspace.join("sdk/typescript/testing/register.mjs"));
    node.arg(workspace.join("tests/kit/typescript").join(module));
    Ok(node)
}

/// The plugin is written in TypeScript. The kit is that of the TypeScript SDK, in Node.
#[test]
fn the_kit_of_typescript_plays_every_script() -> Result<()> {
    let scripts = scripts("node")?;
    let config = Config::read(&folder()?.join("bennu.toml"))?;
    let granted = config.plugins.get(PLUGIN).context("the plugin is configured")?;
    let granted = json!({ "config": granted.config, "publish": granted.publish, "read": granted.read });
    let mut node = node("scripts.mjs")?;
    let played = node.arg(granted.to_string()).args(scripts.iter().map(|script| &script.path)).output();
    let played = played.context("this test needs Node 20.11 or later as `node`")?;
    ensure!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    ensure!(String::from_utf8_lossy(&played.stdout).lines().count() == scripts.len());
    Ok(())
}

/// The test kit gives a script the globals of the engine, as far as Node can.
#[test]
fn a_script_finds_the_globals_of_the_engine_in_node() -> Result<()> {
    let played = node("globals.mjs")?.output().context("this test needs Node 20.11 or later as `node`")?;
    ensure!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    Ok(())
}

/// The plugin is written with the SDK for Python. The kit is that of the SDK. `tests/languages` plays the compiled plugin.
#[test]
fn the_kit_of_python_plays_every_script() -> Result<()> {
    let (workspace, scripts) = (places::workspace()?, scripts("python")?);
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", workspace.join("sdk/python"));
    python.env("BENNU", places::binary()?).arg(workspace.join("tests/kit/python/scripts_of_sdk.py"));
    python.arg(folder()?.join("bennu.toml")).args(scripts.iter().map(|script| &script.path));
    let played = python.output().context("this test needs Python 3.11 or later as `python3`")?;
    ensure!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    ensure!(String::from_utf8_lossy(&played.stdout).lines().count() == scripts.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_host_plays_every_script() -> Result<()> {
    let config = std::fs::read_to_string(folder()?.join("bennu.toml"))?;
    let secret = std::fs::read(folder()?.join("secret.txt"))?;
    // Scripts wait most of the time, so several are played at once.
    let played = stream::iter(scripts("host")?).map(|script| {
        let setup = Setup::new().file("secret.txt", secret.clone()).config(&config);
        async move {
            let host = setup.guests(&[PLUGIN])?.start().await?;
            check(&host, &script.text).await.with_context(|| script.name.clone())?;
            host.stop().await?;
            anyhow::Ok(())
        }
    });
    played.buffer_unordered(AT_ONCE).try_collect().await
}

#[test]
fn a_script_says_why_a_stage_skips_it() -> Result<()> {
    ensure!(skips("a", "-- what\n-- skips native: because")? == ["native"]);
    ensure!(skips("a", "-- skips native").is_err() && skips("a", "-- skips others: because").is_err());
    Ok(())
}
