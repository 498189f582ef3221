//! Faults with the places of functions, from a component's debug information.

use anyhow::{Result, ensure};
use bennu_tests::Setup;
use bennu_tests::crafted::Crafted;
use serde_json::json;

/// Debug information that says of all code that it is line 7 of `src/a.c`: one unit, and one row of lines.
const DEBUG: &str = r#"
  (@custom ".debug_abbrev" "\01\11\00\03\08\10\17\11\01\12\06\00\00\00")
  (@custom ".debug_info" "\18\00\00\00\04\00\00\00\00\00\04\01\61\2e\63\00\00\00\00\00\00\00\00\00\00\00\10\00")
  (@custom ".debug_line" "\36\00\00\00\04\00\1f\00\00\00\01\01\01\fb\0e\0d\00\01\01\01\01\00\00\00\01\00\00\01\73\72\63\00\00\61\2e\63\00\01\00\00\00\00\05\02\00\00\00\00\03\06\01\02\80\80\40\00\01\01")
  (func $inner unreachable)
  (func $outer (call $inner))
"#;

#[tokio::test]
async fn a_fault_has_the_places_of_the_guests_functions() -> Result<()> {
    let plugin = Crafted::serving("room:*").declaring(DEBUG).handling_in_by("(call $outer) unreachable");
    // The host wraps a core module. The places in it stay the same.
    for build in [plugin.build()?, plugin.build_module()?] {
        let host = Setup::new().plugin("lines", build).start().await?;
        let mut client = host.connect().await?;
        client.join("room:1", &json!({})).await?;
        client.push("room:1", "go", &json!({})).await?;
        let fault = host.log().find(0, "the fault", |line| line.field("kind") == "trap").await?;
        let places = "; in inner (src/a.c:7), called by outer (src/a.c:7), called by ";
        ensure!(fault.message().contains(places), "{}", fault.text);
        drop(client);
        host.stop().await?;
    }
    Ok(())
}

/// Damaged debug information does no harm: a fault has the names of the functions.
#[tokio::test]
async fn a_fault_of_a_component_with_damaged_debug_information_has_no_places() -> Result<()> {
    let damaged = DEBUG.replace("(@custom \".debug_info\" \"", "(@custom \".debug_info\" \"\\ff\\ff\\ff");
    let plugin = Crafted::serving("room:*").declaring(&damaged).handling_in_by("(call $outer) unreachable");
    let host = Setup::new().plugin("lines", plugin.build()?).start().await?;
    let mut client = host.connect().await?;
    client.join("room:1", &json!({})).await?;
    client.push("room:1", "go", &json!({})).await?;
    let fault = host.log().find(0, "the fault", |line| line.field("kind") == "trap").await?;
    ensure!(fault.message().contains("; in inner, called by outer"), "{}", fault.text);
    drop(client);
    host.stop().await?;
    Ok(())
}
