//! The output of the commands, the hosts that they connect to, and their errors.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Ended, Setup, TestHost, bennu, bennu_with, get, places};
use serde_json::{Value, json};

/// A hostile text. It clears the screen, sets the window's title, begins a new line and changes the text direction. It also
/// has invisible characters and an 8-bit control character.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\nplugin fake: generation 9\r\u{202e}\u{200b}\u{9b}31m\u{2028}\u{feff}";

/// Whether a terminal shows the text unchanged.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || c.is_ascii_graphic() || c == ' ' || c == '…')
}

#[tokio::test]
async fn text_from_clients_is_printed_with_escapes() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let (address, topic, key) = (host.address().to_string(), format!("naughty:{EVIL}"), format!("key{EVIL}"));
    let mut client = host.connect().await?;
    client.join(&topic, &json!({})).await?;
    client.push(&topic, "track", &json!({ "key": key, "meta": { "said": EVIL } })).await?;
    host.shows("there is a channel", |shown| shown["channels"] == 1).await?;
    let run = |arguments: &[&str]| -> Result<Ended> {
        let ended = bennu(host.home(), &[arguments, &["--host", &address]].concat())?;
        ensure!(is_plain(&ended.output) && is_plain(&ended.errors), "{arguments:?}: {ended:?}");
        Ok(ended)
    };
    let topics = run(&["topics"])?.output;
    ensure!(
        topics.lines().count() == 1 && topics.contains(r"naughty:\u{1b}[2J") && topics.contains(r"\u{202e}"),
        "{topics}"
    );
    let shown = run(&["inspect"])?.output;
    ensure!(
        shown.contains(r"topic naughty:\u{1b}[2J\u{1b}]0;x\u{7}\nplugin fake") && shown.contains(": 1 members"),
        "{shown}"
    );
    let online = run(&["presence", &topic])?.output;
    ensure!(online.starts_with(r"key\u{1b}[2J") && online.lines().count() == 1, "{online}");
    let metas: Value = serde_json::from_str(online.split_once("  ").context("a key and its metas")?.1)?;
    ensure!(metas["said"] == EVIL, "the JSON has the same text: {metas}");
    let online: Value = serde_json::from_str(&run(&["presence", &topic, "--json"])?.output)?;
    ensure!(online[&key]["metas"][0]["said"] == EVIL, "{online}");
    let listed: Value = serde_json::from_str(&run(&["topics", "--json"])?.output)?;
    ensure!(listed[0]["topic"] == topic, "{listed}");
    let inspected: Value = serde_json::from_str(&run(&["inspect", "--json"])?.output)?;
    ensure!(inspected["topics"][0]["topic"] == topic, "{inspected}");
    // The answer of a plugin, and errors that repeat a name from the command line.
    let payload = json!({ "a": EVIL }).to_string();
    let answer = run(&["send", "naughty:1", "echo", &payload])?.output;
    ensure!(serde_json::from_str::<Value>(&answer)? == json!({ "a": EVIL }), "{answer}");
    run(&["send", &format!("nowhere{EVIL}"), "echo"])?;
    run(&["plugins", "reload", &format!("nobody{EVIL}")])?;
    run(&["broadcast", &topic, "news"])?;
    drop(client);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_commands_never_use_a_proxy() -> Result<()> {
    let proxy = TcpListener::bind("127.0.0.1:0")?;
    proxy.set_nonblocking(true)?;
    let host = TestHost::start(&["echo"]).await?;
    let (address, url) = (host.address().to_string(), format!("http://{}", proxy.local_addr()?));
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        let asked = bennu_with(host.home(), &["topics", "--host", &address], &[(name, &url)])?;
        ensure!(asked.code == Some(0), "{name}: {asked:?}");
        let told = bennu_with(host.home(), &["disconnect", "nobody", "--host", &address], &[(name, &url)])?;
        ensure!(told.code == Some(0), "{name}: {told:?}");
        let accepted = proxy.accept().map(|(_, peer)| peer);
        ensure!(matches!(&accepted, Err(error) if error.kind() == ErrorKind::WouldBlock), "{name}: {accepted:?}");
    }
    host.stop().await?;
    Ok(())
}

/// The listener accepts the connection, and never answers.
#[test]
fn a_command_says_how_long_it_has_waited_for_the_host() -> Result<()> {
    let (listener, home) = (TcpListener::bind("127.0.0.1:0")?, tempfile::tempdir()?);
    let asked = bennu(home.path(), &["topics", "--host", &listener.local_addr()?.to_string(), "--timeout", "1"])?;
    ensure!(asked.code == Some(1) && asked.errors.contains("within 1 s (--timeout SECONDS"), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn an_address_can_be_a_url_and_errors_explain_invalid_ones() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    for address in [format!("http://{}", host.address()), format!("http://{}/", host.address())] {
        let asked = bennu(host.home(), &["topics", "--host", &address])?;
        ensure!(asked.code == Some(0), "{address}: {asked:?}");
        let asked = bennu_with(host.home(), &["topics"], &[("BENNU_HOST", &address)])?;
        ensure!(asked.code == Some(0), "{address}: {asked:?}");
    }
    for (address, words) in [
        ("https://127.0.0.1:4000", "plain HTTP"),
        ("ws://127.0.0.1:4000/socket", "an address for `ws`"),
        ("127.0.0.1:4000/api", "more than an address"),
        ("127.0.0.1:70000", "`70000`"),
        ("my host:4000", "is not an address"),
    ] {
        let asked = bennu(host.home(), &["inspect", "--host", address])?;
        ensure!(asked.code == Some(1) && asked.errors.contains(words), "{address}: {asked:?}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn inspect_shows_the_uptime_in_seconds_from_the_start() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let shown = bennu(host.home(), &["inspect", "--host", &host.address().to_string()])?.output;
    let up = shown.lines().next().and_then(|line| line.split_once(", up ")).context("a first line")?.1;
    ensure!(!up.contains("ns") && up.ends_with('s') && up.starts_with(|c: char| c.is_ascii_digit()), "{shown}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_unloaded_plugin_is_never_shown_as_serving() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let address = host.address().to_string();
    let plugins = |arguments: &[&str]| bennu(host.home(), &[&["plugins", "--host", &address], arguments].concat());
    let mark = host.log().len();
    plugins(&["unload", "echo"])?;
    fs::remove_file(host.plugin_file("echo"))?;
    host.shows("the file is gone", |shown| shown["plugins"]["echo"]["file_is_gone"] == true).await?;
    let shown = plugins(&[])?.output;
    ensure!(shown.contains("plugin echo: not served") && shown.contains("its file is gone"), "{shown}");
    ensure!(!shown.contains("continues to serve"), "{shown}");
    let line = host.log().find(mark, "its file is gone", |line| line.message().starts_with("plugin_file_gone")).await?;
    ensure!(line.message().ends_with("it is not served"), "{}", line.text);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_broadcast_command_prints_the_number_of_receivers() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let address = host.address().to_string();
    let broadcast = |more: &[&str]| -> Result<String> {
        let ended = bennu(host.home(), &[&["broadcast", "--host", &address, "echo:1", "news"], more].concat())?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(ended.output)
    };
    ensure!(broadcast(&[])? == "nobody is subscribed to echo:1, so nobody received the event\n", "{}", broadcast(&[])?);
    let (mut alice, mut bob) = (host.connect().await?, host.connect().await?);
    alice.join("echo:1", &json!({})).await?;
    ensure!(broadcast(&[])? == "sent to 1 member of echo:1\n", "one member");
    bob.join("echo:1", &json!({})).await?;
    ensure!(broadcast(&[])? == "sent to 2 members of echo:1\n", "two members");
    ensure!(
        broadcast(&["{}", "--except", "user_socket:1"])? == "sent to 2 members of echo:1\n",
        "no socket has this id"
    );
    drop((alice, bob));
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_address_without_a_page_explains_the_host() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.config("[api]\nlisten = \"127.0.0.1:0\"\n").start().await?;
    let root = get(host.address(), "/").await?;
    ensure!(
        root.status == 200 && root.body.contains("This is a Bennu host") && root.body.contains("--static DIR"),
        "{root:?}"
    );
    let other = get(host.address(), "/socket").await?;
    ensure!(other.status == 404 && other.body.contains("/PATH/websocket"), "{other:?}");
    let line = host.log().find(0, "the address", |line| line.message().starts_with("the API listens on")).await?;
    let apart = line.message().rsplit('/').next().context("an address")?.parse()?;
    let api = get(apart, "/").await?;
    ensure!(api.status == 303 && api.header("location").as_deref() == Some("/dashboard"), "{api:?}");
    let api = get(apart, "/nothing").await?;
    ensure!(
        api.status == 404 && api.json()?["error"]["message"].as_str().is_some_and(|it| it.contains("`/api`")),
        "{api:?}"
    );
    host.stop().await?;

    let setup = Setup::new().guests(&["echo"])?.file("public/a.html", b"<p>a</p>".to_vec());
    let host = setup.arguments(&["--static", "public"]).start().await?;
    ensure!(get(host.address(), "/a.html").await?.body == "<p>a</p>", "a page is served unchanged");
    let root = get(host.address(), "/").await?;
    ensure!(root.status == 404 && root.body.contains("index.html"), "{root:?}");
    let other = get(host.address(), "/b.html").await?;
    ensure!(other.status == 404 && other.body.contains("no page at this address"), "{other:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_script_can_have_a_byte_order_mark_and_errors_explain_other_files() -> Result<()> {
    let home = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| fs::write(home.path().join(name), bytes);
    write("echo.wasm", &places::guest("echo")?)?;
    let script = "alice > join echo:1\nalice < ok {}\n";
    write("plain.script", script.as_bytes())?;
    write("marked.script", format!("\u{feff}{script}").as_bytes())?;
    write(
        "wide.script",
        &script.encode_utf16().fold(b"\xff\xfe".to_vec(), |all, unit| [all, unit.to_le_bytes().into()].concat()),
    )?;
    write("latin.script", b"-- caf\xe9\n")?;
    let good = bennu(home.path(), &["test", "echo.wasm", "plain.script", "marked.script"])?;
    ensure!(good.code == Some(0) && good.output.matches("ok ").count() == 2, "{good:?}");
    let cases: [(&[&str], &str); 5] = [
        (&["plain.script", "echo.wasm"], "`bennu test echo.wasm plain.script`"),
        (&["echo.wasm", "echo.wasm"], "--with echo.wasm"),
        (&["echo.wasm", "wide.script"], "wide.script is text in UTF-16; save it as UTF-8"),
        (&["echo.wasm", "latin.script"], "latin.script isn't text in UTF-8"),
        (&["plain.script", "marked.script"], "not WebAssembly"),
    ];
    for (arguments, words) in cases {
        let ended = bennu(home.path(), &[&["test"], arguments].concat())?;
        ensure!(ended.code == Some(1) && ended.errors.contains(words), "{arguments:?}: {ended:?}");
    }
    Ok(())
}
