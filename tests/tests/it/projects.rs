//! `bennu build` and `bennu test` in a project.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Ended, TestProject, places};

/// A channel in TypeScript.
pub(crate) const CHAT: &str = r#"import { channel, plugin, refuse } from "bennu";

export default plugin({
  "room:*": channel({
    state: { user: "" },
    join({ user }: { user?: string }, socket) {
      if (!user) refuse("user: expected a string");
      socket.state.user = user!;
    },
    on: {
      who: (_: unknown, socket) => ({ user: socket.state.user, version: 1 }),
      crash() {
        throw new RangeError("a mistake");
      },
    },
  }),
});
"#;

/// A script for [`CHAT`].
pub(crate) const SCRIPT: &str = "alice > join room:1 {\"user\": \"alice\"}
alice < ok {}
alice > who
alice < ok {\"user\": \"alice\", \"version\": 1}
";

/// The limit of the time of a call that a debug build needs on a busy machine.
pub(crate) const LIMITS: &str = "[limits]\ncall_cpu_ms = 500\ninit_cpu_ms = 5000\n";

/// Asserts that each of these texts is in the output.
fn says(ended: &Ended, texts: &[&str]) -> Result<()> {
    let all = format!("{}{}", ended.output, ended.errors);
    texts.iter().try_for_each(|text| {
        ensure!(all.contains(text), "`{text}` isn't in:\n{all}");
        Ok(())
    })
}

#[test]
fn a_folder_without_a_project_says_how_to_begin() -> Result<()> {
    let project = TestProject::new(&[])?;
    for command in ["build", "dev", "test"] {
        let ended = project.bennu(&[command], &[])?;
        ensure!(ended.code == Some(1), "{ended:?}");
        says(&ended, &["`bennu.toml`", "`plugins`", "`bennu new NAME`"])?;
    }
    Ok(())
}

#[test]
fn scripts_of_a_project_are_checked_and_tested() -> Result<()> {
    let project = TestProject::new(&[("plugins/chat.ts", CHAT), ("tests/chat.script", SCRIPT)])?;
    let built = project.bennu(&["build"], &[])?;
    ensure!(built.code == Some(0), "{built:?}");
    says(&built, &["plugins/chat.ts  ", " bytes  room:*  checked"])?;
    let tested = project.bennu(&["test"], &[])?;
    ensure!(tested.code == Some(0), "{tested:?}");
    says(&tested, &["ok      tests/chat.script", "1 passed"])?;
    let unknown = project.bennu(&["build", "chatt"], &[])?;
    ensure!(unknown.code == Some(1), "{unknown:?}");
    says(&unknown, &["there is no plugin `chatt`", "its plugins are chat"])?;

    project.edit("plugins/chat.ts", "version: 1", "version: 2")?;
    project.write("tests/other.script", "-- plugins: chatt\n")?;
    let failed = project.bennu(&["test"], &[])?;
    ensure!(failed.code == Some(1), "{failed:?}");
    says(&failed, &["FAILED  tests/chat.script", "line 4: alice < ok", "\"version\":2", "2 of 2 failed"])?;
    says(&failed, &["FAILED  tests/other.script", "it names the plugin `chatt`, and the plugins are chat"])?;

    project.edit("plugins/chat.ts", "=> ({", "=> ({;")?;
    for command in ["build", "test"] {
        let refused = project.bennu(&[command], &[])?;
        ensure!(refused.code == Some(1), "{refused:?}");
        says(&refused, &["plugins/chat.ts can't be served: chat.ts:11:38: Unexpected token", "^"])?;
    }
    Ok(())
}

#[test]
fn a_script_finds_state_that_a_module_keeps() -> Result<()> {
    let keeps =
        CHAT.replace("export default", "let count = 0;\n\nexport default").replace("version: 1", "version: ++count");
    let script = format!("{SCRIPT}alice > who\nalice < ok {{\"user\": \"alice\", \"version\": 2}}\n");
    let project = TestProject::new(&[("plugins/chat.ts", &keeps), ("tests/chat.script", &script)])?;
    let tested = project.bennu(&["test"], &[])?;
    ensure!(tested.code == Some(1), "{tested:?}");
    says(&tested, &["FAILED  tests/chat.script", "the call was run on two instances"])
}

#[test]
fn the_tests_of_a_project_run_in_node() -> Result<()> {
    let test = "import { test } from \"node:test\";\nimport assert from \"node:assert\";\ntest(\"sums\", () => assert.equal(1 + 1, 2));\n";
    let project = TestProject::new(&[("plugins/chat.ts", CHAT), ("tests/sums.test.mjs", test)])?;
    let passed = project.bennu(&["test"], &[])?;
    ensure!(passed.code == Some(0), "{passed:?}");
    says(&passed, &["ok      node --test tests/sums.test.mjs", "1 passed"])?;
    project.edit("tests/sums.test.mjs", "1 + 1", "1 + 2")?;
    let failed = project.bennu(&["test"], &[])?;
    ensure!(failed.code == Some(1), "{failed:?}");
    says(&failed, &["FAILED  node --test tests/sums.test.mjs", "3 == 2", "1 of 1 failed"])?;
    let without = project.bennu(&["test"], &[("PATH", "")])?;
    ensure!(without.code == Some(1), "{without:?}");
    says(&without, &["Node isn't installed", "https://nodejs.org"])
}

/// A project whose plugin `echo` is made by a command.
pub(crate) fn made_by(command: &str) -> Result<TestProject> {
    let table = format!(
        "load = [\"build\"]\n{LIMITS}[build.echo]\ncommand = {command:?}\noutput = \"out/echo.wasm\"\nwatch = [\"src\"]\n"
    );
    TestProject::new(&[("bennu.toml", &table), ("src/source", "")])
}

#[test]
fn a_command_makes_a_plugin_that_is_put_in_place_when_it_is_complete() -> Result<()> {
    let project =
        made_by("echo compiling; mkdir -p out; cp src/source out/echo.wasm; cat src/errors >&2 2>/dev/null || true")?;
    let missing = project.bennu(&["build"], &[])?;
    ensure!(missing.code == Some(1), "{missing:?}");
    says(&missing, &["compiling", "build/echo.wasm can't be served", "1 plugin can't be served"])?;
    ensure!(!project.path("build/echo.wasm").exists(), "a refused file is put in place");

    project.write("src/source", fs::read(places::guest_file("echo")?)?)?;
    let built = project.bennu(&["build"], &[])?;
    ensure!(built.code == Some(0), "{built:?}");
    says(&built, &["build/echo.wasm  ", " KB  bench:* echo:* passed:*  in "])?;
    ensure!(fs::read(project.path("build/echo.wasm"))? == fs::read(places::guest_file("echo")?)?);

    project.write("src/source", "no component")?;
    let refused = project.bennu(&["build"], &[])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(
        fs::read(project.path("build/echo.wasm"))? == fs::read(places::guest_file("echo")?)?,
        "the last good build stays"
    );
    let entries = project.path("build").read_dir()?.flatten().map(|entry| entry.file_name());
    ensure!(
        entries.filter(|name| !name.to_string_lossy().starts_with('.')).count() == 1,
        "nothing else is in the folder"
    );
    Ok(())
}

/// The beginning of every component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn a_core_module_becomes_a_component() -> Result<()> {
    let project = made_by("mkdir -p out; cp src/source out/echo.wasm")?;
    let module = fs::read(places::guest_file("variants/echo-core")?)?;
    ensure!(!module.starts_with(COMPONENT), "the source must be a core module");
    project.write("src/source", &module)?;
    let built = project.bennu(&["build"], &[])?;
    ensure!(built.code == Some(0), "{built:?}");
    says(&built, &["build/echo.wasm  ", " KB  bench:* echo:* passed:*  in "])?;
    let component = fs::read(project.path("build/echo.wasm"))?;
    ensure!(component.starts_with(COMPONENT), "it begins with {:?}", component.get(..8));
    // What the file says about its origin is in the component, too.
    let checked = project.bennu(&["check", "build/echo.wasm"], &[])?;
    says(&checked, &["made with Rust", "bennu-guest"])?;
    // The same module is the same build.
    project.bennu(&["build"], &[])?;
    ensure!(fs::read(project.path("build/echo.wasm"))? == component, "another component was made of the same module");

    project.write("src/source", &module[..module.len() / 2])?;
    let refused = project.bennu(&["build"], &[])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    says(&refused, &["build/echo.wasm can't be served", "damaged or incomplete"])?;
    ensure!(fs::read(project.path("build/echo.wasm"))? == component, "the last good build stays");
    Ok(())
}

#[test]
fn a_command_that_fails_is_shown_with_its_output() -> Result<()> {
    let project = made_by("echo 'source.c:1:2: no' >&2; exit 3")?;
    let failed = project.bennu(&["build"], &[])?;
    ensure!(failed.code == Some(1), "{failed:?}");
    says(&failed, &["source.c:1:2: no", "echo: the build failed"])?;
    let makes_nothing = made_by("true")?.bennu(&["build"], &[])?;
    says(&makes_nothing, &["`true` has succeeded, and ", "out/echo.wasm doesn't exist"])
}

/// A crate with the SDK of this repository.
fn crate_with_a_channel() -> Result<TestProject> {
    let workspace = places::workspace()?;
    let manifest = format!(
        "[package]\nname = \"counter\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nbennu-guest = {{ path = {:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\n[profile.release]\nopt-level = 0\n\n[profile.dev]\ndebug = false\n\n[workspace]\n",
        workspace.join("guest").display().to_string()
    );
    let lock = fs::read_to_string(workspace.join("guest-examples").join("Cargo.lock"))?;
    let source = r#"
use bennu_guest::prelude::*;

#[derive(Serialize, Deserialize)]
struct Counter {
    count: u32,
}

impl Channel for Counter {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Counter { count: 0 })
    }

    fn handle_in(&mut self, _socket: &mut Socket, _event: &str, _payload: Payload) -> Handled {
        self.count += 1;
        reply(json!({ "count": self.count }))
    }
}

channels! { "count:*" => Counter }

#[test]
fn it_counts() {
    let mut alice = testing::join::<Counter>("count:1", json!({})).unwrap();
    assert_eq!(alice.push("add", json!({})).reply(), ("ok", json!({ "count": 1 })));
}
"#;
    let script = "alice > join count:1\nalice < ok {}\nalice > add\nalice < ok {\"count\": 1}\n";
    let config = format!("load = [\"build\"]\n{LIMITS}[build.counter]\nlang = \"rust\"\n");
    TestProject::new(&[
        ("Cargo.toml", &manifest),
        ("Cargo.lock", &lock),
        ("src/lib.rs", source),
        ("bennu.toml", &config),
        ("tests/counter.script", script),
    ])
}

#[test]
fn a_crate_is_built_and_tested_by_cargo() -> Result<()> {
    let project = crate_with_a_channel()?;
    // Kept, so that the next run compiles only the crate itself.
    let target = places::target()?.join("tests").join("crate").display().to_string();
    let mut variables = places::wasm_compiler();
    variables.extend([
        ("CARGO_TARGET_DIR", target),
        ("CARGO_NET_OFFLINE", "true".to_owned()),
        ("RUSTC_WORKSPACE_WRAPPER", String::new()),
    ]);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let tested = project.bennu(&["test"], &variables)?;
    ensure!(tested.code == Some(0), "{tested:?}");
    says(&tested, &["build/counter.wasm  ", "  count:*  in ", "test result: ok. 1 passed"])?;
    says(&tested, &["test --quiet", "ok      tests/counter.script", "2 passed"])?;
    ensure!(fs::read(project.path("build/counter.wasm"))?.starts_with(COMPONENT), "the built crate is no component");

    project.edit("src/lib.rs", "self.count += 1;", "self.count += one;")?;
    let failed = project.bennu(&["build"], &variables)?;
    ensure!(failed.code == Some(1), "{failed:?}");
    says(&failed, &["error[E0425]: cannot find value `one`", "src/lib.rs:17:23", "counter: the build failed"])?;

    let without = project.bennu(&["build"], &[("PATH", ""), ("CARGO", "")])?;
    ensure!(without.code == Some(1), "{without:?}");
    says(&without, &["cargo isn't installed", "`curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh`"])
}

#[test]
fn a_missing_bundler_is_named_with_the_command_that_installs_it() -> Result<()> {
    let config = "load = [\"build\"]\n[build.page]\nsource = \"src/page.ts\"\n";
    let project = TestProject::new(&[("bennu.toml", config), ("src/page.ts", CHAT), ("package.json", "{}")])?;
    let ended = project.bennu(&["build"], &[])?;
    ensure!(ended.code == Some(1), "{ended:?}");
    says(&ended, &["esbuild isn't installed", "`npm install --save-dev esbuild@"])
}

#[test]
fn a_host_needs_no_tables_of_builds() -> Result<()> {
    let project = made_by("true")?;
    let checked = project.bennu(&["serve", "--check", "--config", "bennu.toml"], &[])?;
    says(&checked, &["build"]).context("the folder of built plugins doesn't exist yet")?;
    fs::create_dir(project.path("build"))?;
    fs::copy(places::guest_file("echo")?, project.path("build/echo.wasm"))?;
    let checked = project.bennu(&["serve", "--check", "--config", "bennu.toml"], &[])?;
    ensure!(checked.code == Some(0), "{checked:?}");
    Ok(())
}

#[test]
fn the_sdk_in_rust_is_written_again() -> Result<()> {
    let project = TestProject::new(&[])?;
    let made = project.bennu(&["new", "counter", "--lang", "rust"], &[])?;
    ensure!(made.code == Some(0), "{made:?}");
    let (sdk, manifest) = ("counter/vendor/bennu/guest/src/lib.rs", "counter/vendor/bennu/world/Cargo.toml");
    let (new_sdk, new_manifest) = (fs::read(project.path(sdk))?, fs::read(project.path(manifest))?);
    project.write(sdk, "// of an older version")?;
    fs::remove_file(project.path(manifest))?;
    let written = project.bennu(&["types", "counter"], &[])?;
    ensure!(written.code == Some(0), "{written:?}");
    says(&written, &["the crates of the SDK", "bennu-guest = { path = \"vendor/bennu/guest\" }"])?;
    ensure!(fs::read(project.path(sdk))? == new_sdk && fs::read(project.path(manifest))? == new_manifest);
    for other in ["counter/tsconfig.json", "counter/vendor/bennu/src", "counter/vendor/bennu/package.json"] {
        ensure!(!project.path(other).exists(), "{other} is of another language");
    }

    // A crate that hasn't the SDK yet.
    project.write("own/Cargo.toml", "[package]\nname = \"own\"\n\n[dependencies]\nbennu-guest = \"0.1\"\n")?;
    for (folder, arguments) in [("own", &["types", "own"][..]), ("named", &["types", "named", "--lang", "rust"])] {
        let written = project.bennu(arguments, &[])?;
        ensure!(written.code == Some(0), "{written:?}");
        ensure!(fs::read(project.path(&format!("{folder}/vendor/bennu/guest/src/lib.rs")))? == new_sdk);
    }
    // Any other crate may have plugins in TypeScript.
    project.write("server/Cargo.toml", "[package]\nname = \"server\"\n")?;
    says(&project.bennu(&["types", "server"], &[])?, &["Wrote server/tsconfig.json"])
}
