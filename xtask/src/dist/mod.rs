//! Makes the archive of a release: the stripped executable with its licences, completions and files for systemd, and checksums.

mod glibc;
mod licences;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::process::{self, cargo};
use crate::step::{note, step};
use crate::{package, places};

/// The options of `cargo xtask dist`.
#[derive(Args)]
pub(crate) struct Options {
    /// Build for another target, with `cargo zigbuild`. Its Rust target must be installed. A version of glibc may follow, as in
    /// x86_64-unknown-linux-gnu.2.28
    #[arg(long, value_name = "TRIPLE", conflicts_with = "executable")]
    target: Option<String>,
    /// Use an executable of this machine that is already built, instead of building one in release
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
}

/// The shells that get completions, each with the name of its file.
const SHELLS: [(&str, &str); 3] = [("bash", "bennu.bash"), ("zsh", "_bennu"), ("fish", "bennu.fish")];

/// Makes the archive in `target/dist/`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let own = host_target()?;
    let (built, target) = match (&options.executable, &options.target) {
        (Some(executable), _) => (executable.clone(), own.clone()),
        (None, None) => (step("the host in release", package::build)?, own.clone()),
        (None, Some(target)) => {
            let plain = plain_target(target).to_owned();
            (step("the host in release", || build_for(target, &plain))?, plain)
        }
    };
    let folder = places::dist();
    package::empty(&folder)?;
    let name = format!("bennu-{}-{target}", package::VERSION);
    let root = folder.join(&name);
    fs::create_dir(&root)?;
    let executable = root.join("bennu");
    step("stripping the executable", || package::strip(&built, &executable))?;
    step("the licences", || licences::write(&target, &root.join("THIRD-PARTY-LICENSES.txt")))?;
    step("completions, and files for systemd", || fill(&root, &executable, target == own))?;
    let archive = step("the archive", || pack(&folder, &name))?;
    if let Some((major, minor)) = glibc::needed(&fs::read(&executable)?) {
        note(&format!("needs glibc {major}.{minor} or later"));
    }
    let size = fs::metadata(&archive)?.len();
    note(&format!("{} ({} MB)", archive.display(), size.div_ceil(1_000_000)));
    Ok(())
}

/// Makes the archive of an executable that is already built, for the tests.
pub(crate) fn with_built(executable: &Path) -> Result<()> {
    run(&Options { target: None, executable: Some(executable.to_owned()) })
}

/// The target that this machine's compiler builds for.
fn host_target() -> Result<String> {
    let version = process::read(Command::new("rustc").arg("-vV"))?;
    let target = version.lines().find_map(|line| line.strip_prefix("host: "));
    target.map(str::to_owned).context("rustc names no target")
}

/// Returns a target without the version of glibc that `cargo zigbuild` takes.
fn plain_target(target: &str) -> &str {
    target.split_once('.').map_or(target, |(plain, _)| plain)
}

/// Builds the host for another target. Zig is the C compiler and the linker: it has the C libraries of all targets, and of all versions.
fn build_for(target: &str, plain: &str) -> Result<PathBuf> {
    let library = process::read(Command::new("rustc").args(["--print", "target-libdir", "--target", plain]));
    let library = library.with_context(|| format!("rustc doesn't know the target {plain}"))?;
    let has_zig =
        || Command::new("cargo-zigbuild").arg("--version").output().is_ok_and(|output| output.status.success());
    check_tools(plain, Path::new(&library).is_dir(), has_zig)?;
    process::run(cargo(places::root()).args(["zigbuild", "--release", "--package", "bennu", "--target", target]))?;
    Ok(places::target().join(plain).join("release").join("bennu"))
}

/// Refuses to build for another target without its Rust target, or without Zig.
fn check_tools(plain: &str, has_target: bool, has_zig: impl FnOnce() -> bool) -> Result<()> {
    ensure!(
        has_target,
        "the Rust target {plain} isn't installed, so nothing can be built for it: run `rustup target add {plain}`"
    );
    ensure!(
        has_zig(),
        "another target needs a C compiler for it: run `pip install cargo-zigbuild`, which brings Zig, and have its \
         `cargo-zigbuild` in PATH"
    );
    Ok(())
}

/// Adds the other files. An executable for another machine can't write its completions here, so this machine's own does.
fn fill(root: &Path, executable: &Path, is_own: bool) -> Result<()> {
    fs::copy(places::root().join("LICENSE"), root.join("LICENSE"))?;
    fs::copy(places::root().join("CHANGELOG.md"), root.join("CHANGELOG.md"))?;
    let systemd = root.join("systemd");
    fs::create_dir(&systemd)?;
    package::copy_files(&places::root().join("deploy").join("systemd"), &systemd)?;
    if !is_own {
        note("without completions: `bennu completions SHELL` writes them on the other machine");
        return Ok(());
    }
    let completions = root.join("completions");
    fs::create_dir(&completions)?;
    for (shell, file) in SHELLS {
        let mut command = Command::new(executable);
        process::run(command.args(["completions", shell]).stdout(File::create(completions.join(file))?))?;
    }
    Ok(())
}

/// Packs the directory, always with the same bytes for the same files, and writes the checksum next to it.
fn pack(folder: &Path, name: &str) -> Result<PathBuf> {
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.current_dir(folder);
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw"]);
    tar.args(["--use-compress-program=gzip -9n", "-cf", &archive, name]);
    process::run(&mut tar).context("packing needs GNU tar")?;
    let mut sums = Command::new("sha256sum");
    sums.current_dir(folder).arg(&archive).stdout(File::create(folder.join("SHA256SUMS"))?);
    process::run(&mut sums)?;
    Ok(folder.join(archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_glibc_is_no_part_of_the_target() {
        assert_eq!(plain_target("x86_64-unknown-linux-gnu.2.28"), "x86_64-unknown-linux-gnu");
        assert_eq!(plain_target("aarch64-unknown-linux-gnu"), "aarch64-unknown-linux-gnu");
    }

    #[test]
    fn a_target_that_cannot_be_built_is_refused_by_a_sentence() {
        let why = |target: &str| build_for(target, target).map_err(|error| error.to_string());
        assert_eq!(why("pdp11-unknown-unix"), Err("rustc doesn't know the target pdp11-unknown-unix".into()));
        // A target that nobody has installed.
        let installed = "run `rustup target add sparc64-unknown-linux-gnu`";
        assert!(why("sparc64-unknown-linux-gnu").is_err_and(|why| why.ends_with(installed)));
        let checked = |has_target, has_zig| {
            let checked = check_tools("aarch64-unknown-linux-gnu", has_target, || has_zig);
            checked.map_err(|error| error.to_string())
        };
        assert!(
            checked(false, true).is_err_and(|why| why.ends_with("run `rustup target add aarch64-unknown-linux-gnu`"))
        );
        assert!(
            checked(true, false).is_err_and(|why| why.contains("run `pip install cargo-zigbuild`, which brings Zig"))
        );
        assert_eq!(checked(true, true), Ok(()));
    }
}
