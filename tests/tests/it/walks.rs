//! The documents' commands, typed as they stand: each prints what the page says.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, bearer, bennu_with, eventually, places};

use crate::documents::{blocks, read};

const SECRET: &str = "a secret of more than twenty bytes";

/// Clients by tokens and nobody else, as the page has them.
const CONFIG: &str = r#"
    secret_key_base = { file = "secret.txt" }
    [mounts."/socket"]
    auth_token = true
    token = { salt = "user socket" }
    "#;

/// Types a line into a shell. Gives what it prints, errors included.
fn type_in(home: &Path, host: &str, line: &str) -> Result<String> {
    let binary = places::binary()?;
    let folder = binary.parent().context("a file stands in a folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let typed = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .current_dir(home)
        .env("PATH", path)
        .env("BENNU_HOST", host)
        .env("BENNU_SECRET_KEY_BASE", SECRET)
        .env("XDG_CACHE_HOME", places::target()?.join("tests"))
        .env_remove("BENNU_LOG")
        .env_remove("BENNU_API_KEY")
        .env_remove("BENNU_DATA")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("typing {line}"))?;
    Ok(String::from_utf8_lossy(&typed.stdout).into_owned())
}

/// Whether a text is what is expected, where `…` stands for anything.
fn fits(expected: &str, came: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| came.strip_prefix(first)) else { return false };
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

/// Types a document's line, until what it prints is what the page says: what a host does by itself may take a moment. Only
/// what reads is typed again.
async fn step(home: &Path, host: &str, line: &str, expected: &str) -> Result<()> {
    let is_again = line == "bennu plugins";
    let mut came = String::new();
    let typed = eventually(line, async || {
        came = type_in(home, host, line)?;
        Ok((!is_again || fits(expected, &came)).then_some(()))
    });
    let typed = typed.await;
    ensure!(fits(expected, &came), "$ {line}\n--- the page says\n{expected}--- it says\n{came}");
    typed
}

/// The commands of a block, with what they print.
fn steps(block: &str) -> Result<Vec<(&str, &str)>> {
    let steps = block.split("$ ").filter(|step| !step.is_empty());
    steps.map(|step| step.split_once('\n').context("a command ends its line")).collect()
}

/// Writes the files of a page beside the host's configuration, has its clients play what they play, and types its commands,
/// one after another. A plugin that is put in its place has been loaded before it goes on.
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
async fn the_api_s_page() -> Result<()> {
    let host =
        Setup::new().guests(&["chat", "naughty"])?.file("secret.txt", SECRET.into()).config(CONFIG).start().await?;
    let mut cast = Cast::new(&host);
    for (name, user) in [("alice", "42"), ("bob", "7")] {
        let sign = ["token", "sign", "--salt", "user socket", user];
        let token = bennu_with(host.home(), &sign, &[("BENNU_SECRET_KEY_BASE", SECRET)])?.output;
        let offered = format!("phoenix, {}", bearer(token.trim()));
        cast.enter(name, host.knock().header("sec-websocket-protocol", &offered).connect().await?);
        cast.play(&format!("{name} > join room:lobby {{\"user\": \"{name}\"}}\n{name} < ok …")).await?;
    }
    walk(&host, &read("api.md")?).await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_page_about_testing() -> Result<()> {
    let guests = ["chat", "naughty", "counter"];
    let host = TestHost::start(&guests).await?;
    for guest in guests {
        std::fs::copy(host.plugin_file(guest), host.home().join(guest).with_extension("wasm"))?;
    }
    std::fs::create_dir(host.home().join("next"))?;
    std::fs::write(host.home().join("next/counter.wasm"), places::guest("variants/counter-v2")?)?;
    let (page, test) = (read("testing.md")?, include_str!("example.rs"));
    walk(&host, &page).await?;
    let example = blocks(&page).into_iter().find(|(kind, _)| *kind == "rust,ignore").context("there is an example")?.1;
    let (_uses, example) = example.split_once("\n\nlet stage").context("it begins with a stage")?;
    let typed = example.split_once('\n').context("a stage is loaded")?.1;
    let tested: String = test.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    ensure!(tested.contains(typed), "example.rs isn't the example of docs/testing.md:\n{typed}");
    host.stop().await?;
    Ok(())
}

/// Before its heading about that, the host runs; behind it, it is stopped.
#[tokio::test]
async fn the_page_about_storage() -> Result<()> {
    let page = read("storage.md")?;
    let (running, stopped) = page.split_once("\n## Out and in\n").context("there is the heading")?;
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
    ensure!(typed > 0, "nothing is typed while the host is stopped");
    Ok(())
}

#[tokio::test]
async fn the_page_about_reloads() -> Result<()> {
    let host = TestHost::start(&["counter"]).await?;
    for (file, guest) in [("second", "counter-v2"), ("faulty", "counter-v1-faulty")] {
        std::fs::write(host.home().join(file).with_extension("wasm"), places::guest(&format!("variants/{guest}"))?)?;
    }
    walk(&host, &read("reload.md")?).await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn an_ellipsis_stands_for_anything() {
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
    for (expected, came, is_so) in cases {
        assert_eq!(fits(expected, came), is_so, "{expected} and {came}");
    }
}
