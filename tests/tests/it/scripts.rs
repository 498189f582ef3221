//! The language of scripts: the errors of a failed script.

use anyhow::{Context, Result, ensure};
use bennu_tests::{TestHost, check};

async fn failure(host: &TestHost, script: &str) -> Result<String> {
    let error = check(host, script).await.err().context("the script should have failed")?;
    Ok(format!("{error:#}"))
}

#[tokio::test]
async fn a_failed_script_gives_the_line_and_the_reason() -> Result<()> {
    let host = TestHost::start(&["echo", "naughty"]).await?;
    let wrong = failure(&host, "alice > join echo:1\n-- It is empty.\nalice < ok {\"a\": …}").await?;
    let says = [
        r#"line 3: alice < ok {"a": …}"#,
        r#"expected  ["1","1","echo:1","phx_reply",{"response":{"a":"…"},"status":"ok"}]"#,
        r#"came  ["1","1","echo:1","phx_reply",{"response":{},"status":"ok"}]"#,
        "plugin_loaded",
    ];
    for words in says {
        ensure!(wrong.contains(words), "{words} isn't in:\n{wrong}");
    }
    let noisy = r#"
        bob   > join naughty:1
        bob   < ok …
        alice > join naughty:1
        alice < ok …
        alice > shout {}
        alice < shout {}
        alice < ok {}
        bob ~
    "#;
    let noisy = failure(&host, noisy).await?;
    ensure!(noisy.contains("line 9: bob ~") && noisy.contains(r#"got [null,null,"naughty:1","shout",{}]"#), "{noisy}");
    let ended = failure(&host, "alice > [\nalice < ok {}").await?;
    ensure!(ended.contains("came  the connection's end, with 1011"), "{ended}");
    let unclear = failure(&host, "alice > join echo:1\nalice ? ok").await?;
    ensure!(unclear.contains("line 2: alice ? ok\nno such verb"), "{unclear}");
    host.stop().await?;
    Ok(())
}
