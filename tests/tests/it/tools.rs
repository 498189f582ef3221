//! What a plugin's file says about its language, its SDK and its tools.

use anyhow::{Result, ensure};
use bennu_tests::crafted::Crafted;
use bennu_tests::{Setup, bennu, get};

const SCRIPT: &str = "import { channel, plugin } from \"bennu\";\nexport default plugin({ \"ts:*\": channel({}) });\n";

/// A section with a component in it, which imports WASI. `--stub-wasi` of a builder puts something empty in the place of WASI.
fn part_with_wasi() -> Result<Vec<u8>> {
    let part = wat::parse_str("(component (import \"wasi:cli/stderr@0.2.0\" (instance)))")?;
    // 4 is the id of such a section.
    Ok([&[4, u8::try_from(part.len())?][..], &part].concat())
}

#[tokio::test]
async fn the_language_and_the_sdk_of_each_plugin_are_shown() -> Result<()> {
    let host = Setup::new().guests(&["echo"])?.file("plugins/script.ts", SCRIPT.into()).start().await?;
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        ("echo", "Rust", format!("bennu-guest {version}")),
        ("script", "TypeScript", format!("bennu for TypeScript {version}")),
    ];
    let answer = get(host.address(), "/api/plugins").await?.json()?;
    for command in ["inspect", "plugins"] {
        let printed = bennu(host.home(), &[command, "--host", &host.address().to_string()])?.output;
        for (name, language, sdk) in &expected {
            let shown = &answer["plugins"][name];
            ensure!(shown["language"] == *language && shown["sdk"] == *sdk, "{shown}");
            ensure!(printed.contains(&format!("\n  in {language}, with {sdk}\n")), "{command}: {printed}");
        }
    }
    host.stop().await?;
    Ok(())
}

/// Whoever builds with this option loses the text of each exception. The component is served all the same.
#[tokio::test]
async fn a_component_whose_wasi_was_taken_out_is_warned_of() -> Result<()> {
    let mut plugin = Crafted::serving("c:*").build()?;
    plugin.extend(part_with_wasi()?);
    let host = Setup::new().plugin("stubbed", plugin).start().await?;
    let warning = "a part of it imports WASI, and the file itself does not, as after a build with `--stub-wasi`";
    let is_it = |line: &bennu_tests::Line| line.field("plugin") == "stubbed" && line.message().starts_with(warning);
    host.log().find(0, "the warning", is_it).await?;
    let checked = bennu(host.home(), &["check", &host.plugin_file("stubbed").display().to_string()])?;
    ensure!(checked.code == Some(0) && checked.errors.contains(warning), "{checked:?}");
    host.stop().await?;
    Ok(())
}
