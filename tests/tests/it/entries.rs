//! Entries of durable rooms, through the binary.

use anyhow::{Result, ensure};
use bennu_tests::{TestHost, check};
use rustix::process::Signal;

#[tokio::test]
async fn entries_of_a_durable_room_survive_a_restart() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = TestHost::start(&["shelf"]).await?;
        check(
            &host,
            r#"
            alice > join vault:1
            alice < ok {}
            alice > fill {"from": 0, "entries": 100, "bytes": 88}
            alice < ok {}
            alice > mark
            alice < ok {"marks": 1}
            alice > mark
            alice < ok {"marks": 2}
            "#,
        )
        .await?;
        let host = host.restart(signal).await?;
        check(
            &host,
            r#"
            alice > join vault:1
            alice < ok {}
            alice > read {"key": 7}
            alice < ok {"bytes": 86}
            alice > count
            alice < ok {"entries": 100}
            alice > audit
            alice < ok {"marks": 2, "is_whole": true, "own": 2}
            bob   > join vault:2
            bob   < ok {}
            bob   > count
            bob   < ok {"entries": 0}
            "#,
        )
        .await?;
        ensure!(host.inspect().await?["faults"] == 0);
        host.stop().await?;
    }
    Ok(())
}
