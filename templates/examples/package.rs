//! Writes the archives of this build into the directory of the crate, for `cargo package`: a package has nothing outside of its own
//! directory. Run `cargo run -p bennu-templates --example package` before `cargo package -p bennu-templates --allow-dirty`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaged");
    fs::create_dir_all(&folder)?;
    bennu_templates::PACKAGED.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content))
}
