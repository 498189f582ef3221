//! The documents' commands, typed as they stand: each prints what the page says.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, bearer, bennu_with, places};

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
fn type_in(host: &TestHost, line: &str) -> Result<String> {
    let binary = places::binary()?;
    let folder = binary.parent().context("a file stands in a folder")?;
    let path = format!("{}:{}", folder.display(), std::env::var("PATH")?);
    let typed = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .current_dir(host.home())
        .env("PATH", path)
        .env("BENNU_HOST", host.address().to_string())
        .env("BENNU_SECRET_KEY_BASE", SECRET)
        .env("XDG_CACHE_HOME", places::target()?.join("tests"))
        .env_remove("BENNU_LOG")
        .env_remove("BENNU_API_KEY")
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

/// Writes the files of a document beside the host's configuration, and types its commands one after another.
fn walk(host: &TestHost, document: &str) -> Result<()> {
    let mut typed = 0;
    for (kind, block) in blocks(&read(document)?) {
        if let Some(file) = kind.strip_prefix("text ") {
            std::fs::write(host.home().join(file), &block)?;
        }
        if kind != "console" {
            continue;
        }
        for step in block.split("$ ").filter(|step| !step.is_empty()) {
            let (line, expected) = step.split_once('\n').context("a command ends its line")?;
            let came = type_in(host, line)?;
            ensure!(
                fits(expected, &came),
                "docs/{document}: $ {line}\n--- the page says\n{expected}--- it says\n{came}"
            );
            typed += 1;
        }
    }
    ensure!(typed > 0, "docs/{document} has no command");
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
    walk(&host, "api.md")?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_page_about_testing() -> Result<()> {
    let guests = ["chat", "naughty"];
    let host = TestHost::start(&guests).await?;
    for guest in guests {
        std::fs::copy(host.plugin_file(guest), host.home().join(guest).with_extension("wasm"))?;
    }
    walk(&host, "testing.md")?;
    let (page, test) = (read("testing.md")?, include_str!("example.rs"));
    let example = blocks(&page).into_iter().find(|(kind, _)| *kind == "rust,ignore").context("there is an example")?.1;
    let (_uses, example) = example.split_once("\n\nlet stage").context("it begins with a stage")?;
    let typed = example.split_once('\n').context("a stage is loaded")?.1;
    let tested: String = test.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    ensure!(tested.contains(typed), "example.rs isn't the example of docs/testing.md:\n{typed}");
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
