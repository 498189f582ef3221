//! A host with little address space: how much it reserves for instances, and what it does if it can't.

use std::path::Path;

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Cast, Line, Setup, check, limited, places};

const SCRIPT: &str = "alice > join echo:1\nalice < ok {}\nalice > count\nalice < ok {\"count\": 1, \"build\": \"1\"}\n";

/// Sizes in mebibytes. The first ones are too small for a host; the largest is nearly what the host would reserve.
const SIZES: [u64; 11] = [300, 700, 900, 1_500, 2_000, 3_000, 10_000, 40_000, 250_000, 1_000_000, 30_000_000];

/// A host either serves, or ends with an error that says what to do.
#[tokio::test]
async fn a_host_with_little_address_space_serves_or_says_what_it_needs() -> Result<()> {
    let mut served = Vec::new();
    for mebibytes in SIZES {
        match Setup::new().guests(&["echo"])?.address_space(mebibytes).start().await {
            Ok(host) => {
                check(&host, SCRIPT).await?;
                let says = |line: &Line| line.message().contains("`limits.instances`") && line.field("level") == "WARN";
                let lines = host.log().since(0).into_iter().filter(says).count();
                ensure!(lines == 1, "{mebibytes} MiB: {lines} lines say so:\n{}", host.log().tail(20));
                host.stop().await?;
                served.push(mebibytes);
            }
            Err(error) => {
                let error = format!("{error:#}");
                ensure!(error.contains("bennu: ") && error.contains("`ulimit -v`"), "{mebibytes} MiB: {error}");
                ensure!(!error.contains("panicked"), "{mebibytes} MiB: {error}");
            }
        }
    }
    ensure!(served == SIZES[3..], "it serves only with {served:?} MiB");
    Ok(())
}

/// If there are fewer instances than plugins or calls, calls wait. None of them fails.
#[tokio::test]
async fn calls_wait_for_instances_of_all_plugins() -> Result<()> {
    let setup = Setup::new().guests(&["naughty", "echo"])?.limit("instances", 1).limit("call_cpu_ms", 10_000);
    let host = setup.start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:1
        alice < ok …
        bob   > join echo:1
        bob   < ok {}
        -- Each plugin needs the instance that the other plugin used before.
        alice > echo {"n": 1}
        alice < ok {"n": 1}
        bob   > count
        bob   < ok {"count": 1, "build": "1"}
        alice > echo {"n": 2}
        alice < ok {"n": 2}
        -- Here the second call waits until the first one ends.
        alice > slow #slow {"ms": 500}
        bob   > count
        alice < ok #slow {}
        bob   < ok {"count": 2, "build": "1"}
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    ensure!(shown["faults"] == 0, "{shown}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// Plugins are loaded at the same time, and each needs an instance for the call of `describe`.
#[tokio::test]
async fn plugins_that_load_at_once_wait_for_the_only_instance() -> Result<()> {
    let mut setup = Setup::new().limit("instances", 1);
    for number in 0..16 {
        let plugin = Crafted::serving(&format!("p{number}:*")).build()?;
        setup = setup.plugin(&format!("p{number}"), plugin);
    }
    let host = setup.start().await?;
    for (name, plugin) in host.inspect().await?["plugins"].as_object().into_iter().flatten() {
        ensure!(plugin["generation"] == 1, "{name}: {plugin}");
    }
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn check_and_test_work_with_little_address_space() -> Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("echo.wasm"), places::guest("echo")?)?;
    std::fs::write(home.path().join("echo.script"), SCRIPT)?;
    let run = |mebibytes, arguments: &[&str]| run(home.path(), mebibytes, arguments);
    for mebibytes in [1_500, 10_000, 100_000] {
        let (output, errors) = run(mebibytes, &["check", "echo.wasm"])?;
        ensure!(output.contains("echo.wasm is a plugin"), "{mebibytes} MiB: {output}{errors}");
        let (output, errors) = run(mebibytes, &["test", "echo.wasm", "echo.script"])?;
        ensure!(output.contains("ok      echo.script"), "{mebibytes} MiB: {output}{errors}");
    }
    Ok(())
}

/// Runs a command with a limited address space, in mebibytes. Returns its output and its errors.
fn run(home: &Path, mebibytes: u64, arguments: &[&str]) -> Result<(String, String)> {
    let mut command = limited(mebibytes)?;
    command.args(arguments).current_dir(home).env("XDG_CACHE_HOME", home).env_remove("BENNU_LOG");
    let ended = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&ended.stdout), text(&ended.stderr)))
}
