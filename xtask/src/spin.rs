//! Spin, which checks models of protocols.

use crate::step::note;
use crate::{debian, process};

/// The programs that a check needs, with their packages of Debian. Spin writes a program in C.
const PROGRAMS: [(&str, &str); 2] = [("spin", "spin"), ("cc", "gcc")];

/// Finds Spin and a C compiler, or installs them. Returns whether they are there.
pub(crate) fn find() -> bool {
    let missing = || PROGRAMS.iter().filter(|(program, _)| process::on_path(program).is_none());
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if !packages.is_empty()
        && debian::can_install()
        && let Err(error) = debian::install("installing Spin (about 1 MB)", &packages)
    {
        note(&format!("Spin can't be installed: {error}"));
    }
    missing().next().is_none()
}
