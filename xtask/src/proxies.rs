//! The proxies whose configurations are tested.

use anyhow::{Result, ensure};

use crate::{debian, process};

/// The proxies and the program that makes the test's certificate: their executables, with their packages of Debian.
const PROGRAMS: [(&str, &str); 4] =
    [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("caddy", "caddy"), ("openssl", "openssl")];

/// Finds the proxies, or installs them.
pub(crate) fn find() -> Result<()> {
    let missing = || PROGRAMS.iter().filter(|(program, _)| !is_there(program));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if !packages.is_empty() && debian::can_install() {
        debian::install("installing nginx, HAProxy and Caddy (about 20 MB)", &packages)?;
    }
    let absent: Vec<&str> = missing().map(|(program, _)| *program).collect();
    ensure!(absent.is_empty(), "the tests of the proxies need {}; install them", absent.join(", "));
    Ok(())
}

fn is_there(program: &str) -> bool {
    // Debian has servers in /usr/sbin, which isn't in every user's PATH.
    process::on_path(program).is_some() || std::path::Path::new("/usr/sbin").join(program).is_file()
}
