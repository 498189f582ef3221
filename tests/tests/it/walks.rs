//! Runs the commands in the documents, and compares their output with the documents.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, bearer, bennu_with, eventually, places};

use crate::documents::{blocks, read};

const SECRET: &str = "a secret of more than twenty bytes";

/// The configuration of the page: clients need a token.
const CONFIG: &str = r#"
    secret_key_base = { file = "secret.txt" }
    [mounts."/socket"]
    auth_token = true
    token = { salt = "user socket" }
    "#;

/// Runs a line in a shell. Returns its output, including errors.
fn type_in(home: &Path, host: &str, line: &str) -> Result<String> {
    let binary = places::binary()?;
    let folder = binary.parent().context("the binary has no folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let typed = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .current_dir(home)
        .env("PATH", path)
        .env("BENNU_HOST", host)
        .env("BENNU_SECRET_KEY_BASE", SECRET)
        .env("XDG_CACHE_HOME", places::cache_home()?)
        .env_remove("BENNU_LOG")
        .env_remove("BENNU_API_KEY")
        .env_remove("BENNU_DATA")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {line}"))?;
    Ok(String::from_utf8_lossy(&typed.stdout).into_owned())
}

/// Whether a text matches the expected one, in which `…` stands for any text.
fn fits(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let found = if parts.peek().is_none() {
            rest.ends_with(part).then_some("")
        } else {
            rest.split_once(part).map(|it| it.1)
        };
        let Some(behind) = found else { return false };
        rest = behind;
    }
    rest.is_empty()
}

/// Runs a line of a document and compares its output with the document. `bennu plugins` only reads, so it is repeated until
/// the output matches, because the host's own actions may take a moment.
async fn step(home: &Path, host: &str, line: &str, expected: &str) -> Result<()> {
    let is_again = line == "bennu plugins";
    let mut printed = String::new();
    let typed = eventually(line, async || {
        printed = type_in(home, host, line)?;
        Ok((!is_again || fits(expected, &printed)).then_some(()))
    });
    let typed = typed.await;
    ensure!(fits(expected, &printed), "$ {line}\n--- expected\n{expected}--- got\n{printed}");
    typed
}

/// The commands of a block with their expected output.
fn steps(block: &str) -> Result<Vec<(&str, &str)>> {
    let steps = block.split("$ ").filter(|step| !step.is_empty());
    steps.map(|step| step.split_once('\n').context("a command without a line end")).collect()
}

/// Goes through the blocks of a page in order: writes its files next to the host's configuration, plays the scripts of its
/// clients, and runs its commands. After a command that replaces a plugin's file, waits for the host's decision.
async fn walk(host: &TestHost, page: &str) -> Result<()> {
    let (address, mut cast, mut typed) = (host.address().to_string(), Cast::new(host), 0);
    for (kind, block) in blocks(page) {
        if kind == "text clients" {
            cast.play(&block).await?;
        } else if let Some(file) = kind.strip_prefix("text ") {
            std::fs::write(host.home().join(file), &block)?;
        }
        if kind != "console" {
            continue;
        }
        for (line, expected) in steps(&block)? {
            let mark = host.log().len();
            step(host.home(), &address, line, expected).await?;
            let put = line.strip_prefix("mv ").and_then(|line| line.split_once(" plugins/")?.1.strip_suffix(".wasm"));
            if let Some(plugin) = put {
                host.decision(mark, plugin).await?;
            }
            typed += 1;
        }
    }
    ensure!(typed > 0, "the page has no command");
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_about_the_api_work() -> Result<()> {
    let host =
        Setup::new().guests(&["chat", "naughty"])?.file("secret.txt", SECRET.into()).config(CONFIG).start().await?;
    let mut cast = Cast::new(&host);
    for (name, user) in [("alice", "42"), ("bob", "7")] {
        let sign = ["token", "sign", "--salt", "user socket", user];
        let token = bennu_with(host.home(), &sign, &[("BENNU_SECRET_KEY_BASE", SECRET)])?.output;
        let offered = format!("phoenix, {}", bearer(token.trim()));
        cast.enter(name, host.connect_request().header("sec-websocket-protocol", &offered).connect().await?);
        cast.play(&format!("{name} > join room:lobby {{\"user\": \"{name}\"}}\n{name} < ok …")).await?;
    }
    walk(&host, &read("api.md")?).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_about_projects_work() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    walk(&host, &read("projects.md")?).await?;
    ensure!(host.home().join("my-app/plugins/my-app.ts").is_file());
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_about_testing_work() -> Result<()> {
    let guests = ["chat", "naughty", "counter"];
    let host = TestHost::start(&guests).await?;
    for guest in guests {
        std::fs::copy(host.plugin_file(guest), host.home().join(guest).with_extension("wasm"))?;
    }
    std::fs::create_dir(host.home().join("next"))?;
    std::fs::write(host.home().join("next/counter.wasm"), places::guest("variants/counter-v2")?)?;
    let (page, test) = (read("testing.md")?, include_str!("example.rs"));
    walk(&host, &page).await?;
    let example =
        blocks(&page).into_iter().find(|(kind, _)| *kind == "rust,ignore").context("the page has no example")?.1;
    let (_uses, example) = example.split_once("\n\nlet stage").context("the example doesn't begin with a stage")?;
    let typed = example.split_once('\n').context("the example ends after the stage")?.1;
    let tested: String = test.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    ensure!(tested.contains(typed), "example.rs isn't the example of docs/testing.md:\n{typed}");
    host.stop().await?;
    Ok(())
}

/// The commands before the heading `Export and import` need a running host, and imports a stopped one.
#[tokio::test]
async fn the_commands_of_the_page_about_storage_work() -> Result<()> {
    let page = read("storage.md")?;
    let (running, stopped) = page.split_once("\n## Export and import\n").context("the page has no such heading")?;
    let host = TestHost::start(&["ledger"]).await?;
    walk(&host, running).await?;
    let home = host.keep_home();
    host.stop().await?;
    let mut typed = 0;
    for (_, block) in blocks(stopped).into_iter().filter(|(kind, _)| *kind == "console") {
        for (line, expected) in steps(&block)? {
            step(home.path(), "", line, expected).await?;
            typed += 1;
        }
    }
    ensure!(typed > 0, "the page has no command for a stopped host");
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_about_backups_work() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    walk(&host, &read("backup.md")?).await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_of_the_page_about_reloads_work() -> Result<()> {
    let host = TestHost::start(&["counter"]).await?;
    for (file, guest) in [("second", "counter-v2"), ("faulty", "counter-v1-faulty")] {
        std::fs::write(host.home().join(file).with_extension("wasm"), places::guest(&format!("variants/{guest}"))?)?;
    }
    walk(&host, &read("reload.md")?).await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn an_ellipsis_matches_any_text() {
    let cases = [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("a…c", "abbc", true),
        ("a…c", "abcd", false),
        ("a…b…d", "axbxd", true),
        ("a…b…d", "axd", false),
        ("", "", true),
        ("…", "", true),
    ];
    for (expected, output, matches) in cases {
        assert_eq!(fits(expected, output), matches, "{expected} and {output}");
    }
}
