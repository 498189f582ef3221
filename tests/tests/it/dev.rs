//! `bennu dev`: a project is served while it is edited.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Result, ensure};
use bennu_tests::{TestHost, TestProject, eventually, get, places};
use rustix::fs::OFlags;
use serde_json::json;

use crate::projects::{CHAT, LIMITS, SCRIPT, made_by};

/// Waits for a line that contains a text.
async fn line(host: &TestHost, mark: usize, text: &str) -> Result<String> {
    let found = host.log().find(mark, text, |line| line.text.contains(text)).await?;
    Ok(found.text)
}

fn chat() -> Result<TestProject> {
    let config = format!("load = [\"plugins\"]\nstatic = \"public\"\n{LIMITS}");
    let page = "<!doctype html><title>chat</title><body><p>hello</body>";
    TestProject::new(&[("bennu.toml", &config), ("plugins/chat.ts", CHAT), ("public/index.html", page)])
}

#[tokio::test]
async fn a_save_is_served_to_the_members_who_are_there() -> Result<()> {
    let project = chat()?;
    let host = project.dev(&[]).await?;
    line(&host, 0, "chat: generation 1 in ").await?;
    let mut alice = host.connect().await?;
    alice.join("room:1", &json!({ "user": "alice" })).await?;
    ensure!(alice.call("room:1", "who", &json!({})).await? == json!({ "user": "alice", "version": 1 }));

    let mark = host.log().len();
    project.edit("plugins/chat.ts", "version: 1", "version: 2")?;
    let generation = line(&host, mark, "chat: generation 2 in ").await?;
    ensure!(generation.ends_with(", 1 member went on"), "{generation}");
    ensure!(alice.call("room:1", "who", &json!({})).await? == json!({ "user": "alice", "version": 2 }));
    alice.close().await
}

#[tokio::test]
async fn refusals_and_faults_are_on_the_page_until_the_next_generation() -> Result<()> {
    let project = chat()?;
    let host = project.dev(&[]).await?;
    let mut shown = TestProject::shown(&host).await?;
    shown.until("the first generation", |state| state["plugins"]["chat"]["generation"] == 1).await?;
    let mut alice = host.connect().await?;
    alice.join("room:1", &json!({ "user": "alice" })).await?;

    alice.push("room:1", "crash", &json!({})).await?;
    let faulty = shown.until("the fault", |state| state["plugins"]["chat"]["faults"][0].is_object()).await?;
    let fault = &faulty["plugins"]["chat"]["faults"][0];
    ensure!(fault["place"] == "handle_in `crash` of room:1", "{fault}");
    let text = fault["text"].as_str().unwrap_or_default();
    ensure!(text.starts_with("RangeError: a mistake") && text.contains("\n  in crash (chat.ts:13:"), "{text}");
    line(&host, 0, "chat: fault in handle_in `crash` of room:1").await?;
    line(&host, 0, "in crash (chat.ts:13:").await?;

    let mark = host.log().len();
    project.edit("plugins/chat.ts", "=> ({", "=> ({;")?;
    let refused = shown.until("the refusal", |state| state["plugins"]["chat"]["problem"].is_object()).await?;
    let problem = &refused["plugins"]["chat"]["problem"];
    ensure!(problem["kind"] == "refused", "{problem}");
    ensure!(problem["text"].as_str().is_some_and(|text| text.starts_with("chat.ts:11:38: ")), "{problem}");
    line(&host, mark, "chat: refused").await?;
    // The last generation goes on.
    let mut bob = host.connect().await?;
    bob.join("room:1", &json!({ "user": "bob" })).await?;

    // The file is again what serves. That makes no generation.
    project.write("plugins/chat.ts", CHAT)?;
    shown.until("no refusal", |state| state["plugins"]["chat"]["problem"].is_null()).await?;
    project.edit("plugins/chat.ts", "version: 1", "version: 2")?;
    let mended = shown.until("the next generation", |state| state["plugins"]["chat"]["generation"] == 2).await?;
    ensure!(mended["plugins"]["chat"]["faults"] == json!([]), "{mended}");
    bob.close().await
}

/// A variable of a module works with one instance. While a plugin is developed, a second one runs each call again.
#[tokio::test]
async fn state_that_a_module_keeps_is_a_fault() -> Result<()> {
    let project = chat()?;
    project.edit("plugins/chat.ts", "export default", "let count = 0;\n\nexport default")?;
    project.edit("plugins/chat.ts", "version: 1", "version: ++count")?;
    let host = project.dev(&[]).await?;
    line(&host, 0, "`count` is kept in the module").await?;
    let mut shown = TestProject::shown(&host).await?;
    let mut alice = host.connect().await?;
    alice.join("room:1", &json!({ "user": "alice" })).await?;
    alice.push("room:1", "who", &json!({})).await?;
    alice.push("room:1", "who", &json!({})).await?;
    let faulty = shown.until("the fault", |state| state["plugins"]["chat"]["faults"][0].is_object()).await?;
    let text = faulty["plugins"]["chat"]["faults"][0]["text"].as_str().unwrap_or_default();
    ensure!(text.contains("the call was run on two instances") && text.contains("keep state in"), "{text}");
    Ok(())
}

#[tokio::test]
async fn pages_have_a_script_that_a_host_does_not_insert() -> Result<()> {
    let project = chat()?;
    let host = project.dev(&[]).await?;
    let page = get(host.address(), "/").await?;
    ensure!(page.body.ends_with("<p>hello<script src=\"/__bennu/dev.js\"></script></body>"), "{page:?}");
    let script = get(host.address(), "/__bennu/dev.js").await?;
    ensure!(script.status == 200 && script.body.contains("EventSource(\"/__bennu/events\")"), "{}", script.head);
    ensure!(!script.body.contains("innerHTML"), "texts are inserted as text");

    let mut shown = TestProject::shown(&host).await?;
    shown.until("a state", |state| state["pages"] == 0).await?;
    project.edit("public/index.html", "hello", "good morning")?;
    shown.until("another page", |state| state["pages"].as_u64() > Some(0)).await?;
    ensure!(get(host.address(), "/").await?.body.contains("good morning"));
    drop(host);

    let host = bennu_tests::Setup::new()
        .file("public/index.html", b"<body><p>hello</body>".to_vec())
        .config("static = \"public\"")
        .start()
        .await?;
    ensure!(get(host.address(), "/").await?.body == "<body><p>hello</body>");
    ensure!(get(host.address(), "/__bennu/dev.js").await?.status == 404);
    ensure!(get(host.address(), "/__bennu/events").await?.status == 404);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_project_without_pages_has_a_page_that_says_what_is_served() -> Result<()> {
    let project = TestProject::new(&[("plugins/chat.ts", CHAT)])?;
    let host = project.dev(&[]).await?;
    let page = get(host.address(), "/").await?;
    ensure!(page.status == 200 && page.body.contains("<h1>bennu dev</h1>"), "{page:?}");
    ensure!(page.body.contains("src=\"/__bennu/dev.js\""), "{page:?}");
    Ok(())
}

#[tokio::test]
async fn a_build_that_fails_leaves_the_last_one_running() -> Result<()> {
    let project = made_by(
        "if [ -e src/broken ]; then cat src/broken >&2; exit 1; fi; mkdir -p out; cp src/source out/echo.wasm",
    )?;
    project.write("src/source", fs::read(places::guest_file("echo")?)?)?;
    let host = project.dev(&[]).await?;
    line(&host, 0, "echo: built build/echo.wasm, ").await?;
    line(&host, 0, "echo: generation 1 in ").await?;
    let mut shown = TestProject::shown(&host).await?;
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;

    project.write("src/broken", "source.c:1:2: no <b>\n")?;
    let broken = shown.until("the failure", |state| state["plugins"]["echo"]["problem"]["kind"] == "build").await?;
    let text = broken["plugins"]["echo"]["problem"]["text"].as_str().unwrap_or_default();
    ensure!(text == "source.c:1:2: no <b>\nthe build failed", "{text}");
    line(&host, 0, "echo: the build failed").await?;
    ensure!(alice.call("echo:1", "echo", &json!({ "a": 1 })).await? == json!({ "a": 1 }));

    fs::remove_file(project.path("src/broken"))?;
    project.write("src/source", fs::read(places::guest_file("variants/echo-v2")?)?)?;
    let mended = shown.until("the next generation", |state| state["plugins"]["echo"]["generation"] == 2).await?;
    ensure!(mended["plugins"]["echo"]["problem"].is_null(), "{mended}");
    line(&host, 0, "echo: generation 2 in ").await?;
    alice.close().await
}

/// The command waits for a file that never comes, so only its end can make room for the next build.
#[tokio::test]
async fn the_last_save_wins_over_a_build_that_runs() -> Result<()> {
    let waits = "if [ -e src/wait ]; then echo $$ > out/waiting; while :; do read -r line < out/never; done; fi";
    let project =
        made_by(&format!("mkdir -p out; [ -p out/never ] || mkfifo out/never; {waits}; cp src/source out/echo.wasm"))?;
    project.write("src/source", fs::read(places::guest_file("echo")?)?)?;
    let host = project.dev(&[]).await?;
    line(&host, 0, "echo: generation 1 in ").await?;

    project.write("src/wait", "")?;
    let waiting = project.path("out/waiting");
    let shell = eventually("the command waits", async || {
        Ok(fs::read_to_string(&waiting).ok().and_then(|text| text.trim().parse::<u32>().ok()))
    });
    let shell = shell.await?;
    fs::remove_file(project.path("src/wait"))?;
    project.write("src/source", fs::read(places::guest_file("variants/echo-v2")?)?)?;
    line(&host, 0, "echo: generation 2 in ").await?;
    eventually("the first command has ended", async || {
        Ok((!std::path::Path::new(&format!("/proc/{shell}")).exists()).then_some(()))
    })
    .await
}

/// The command has read the source, and waits, when the source is saved. It also writes among its sources.
#[tokio::test]
async fn a_save_during_a_command_without_watched_files_is_built_after_it() -> Result<()> {
    let command = "mkdir -p ../out; [ -p ../out/go ] || mkfifo ../out/go; cp source made; echo $$ > stamp; \
                   if [ -e ../out/wait ]; then echo $$ > ../out/waiting; read -r line < ../out/go; fi; cp made ../out/echo.wasm";
    let table = format!(
        "load = [\"build\"]\n{LIMITS}[build.echo]\nsource = \"src\"\ncommand = {command:?}\noutput = \"out/echo.wasm\"\n"
    );
    let project = TestProject::new(&[("bennu.toml", &table), ("src/source", "")])?;
    project.write("src/source", fs::read(places::guest_file("echo")?)?)?;
    let host = project.dev(&[]).await?;
    line(&host, 0, "echo: generation 1 in ").await?;

    project.write("out/wait", "")?;
    project.write("src/header", "")?;
    let waiting = project.path("out/waiting");
    eventually("the command waits", async || Ok(waiting.exists().then_some(()))).await?;
    fs::remove_file(project.path("out/wait"))?;
    project.write("src/source", fs::read(places::guest_file("variants/echo-v2")?)?)?;
    // The command goes on, and makes the former plugin. It may not have opened the pipe yet, so no open waits for it.
    let go = project.path("out/go");
    eventually("the command reads", async || {
        let opened = fs::OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&go);
        Ok(opened.is_ok_and(|mut pipe| pipe.write_all(b"\n").is_ok()).then_some(()))
    })
    .await?;
    line(&host, 0, "echo: generation 2 in ").await?;
    Ok(())
}

#[tokio::test]
async fn tests_run_on_each_save() -> Result<()> {
    let project = chat()?;
    project.write("tests/chat.script", SCRIPT)?;
    let host = project.dev(&["--test"]).await?;
    line(&host, 0, "ok      tests/chat.script").await?;
    let mut shown = TestProject::shown(&host).await?;
    project.edit("plugins/chat.ts", "version: 1", "version: 2")?;
    let failed = shown.until("failed tests", |state| state["tests"].is_string()).await?;
    let text = failed["tests"].as_str().unwrap_or_default();
    ensure!(text.contains("FAILED  tests/chat.script") && text.contains("\"version\":2"), "{text}");
    let mark = host.log().len();
    project.edit("tests/chat.script", "\"version\": 1", "\"version\": 2")?;
    line(&host, mark, "ok      tests/chat.script").await?;
    shown.until("passed tests", |state| state["tests"].is_null()).await?;
    Ok(())
}

#[tokio::test]
async fn a_changed_configuration_has_to_be_read_at_a_start() -> Result<()> {
    let project = chat()?;
    let host = project.dev(&[]).await?;
    project.edit("bennu.toml", "500", "600")?;
    line(&host, 0, "bennu.toml has changed: start `bennu dev` again").await?;
    Ok(())
}
