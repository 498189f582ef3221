//! `bennu types`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::written::write;

/// Write the SDK in TypeScript, whose types editors show, to DIR/vendor/bennu
#[derive(Args)]
pub(super) struct Types {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl Types {
    pub(super) fn run(self) -> Result<()> {
        let vendored = self.folder.join(bennu_templates::SDK_FOLDER);
        write(&vendored, &bennu_templates::typescript_sdk())?;
        out_line!("Wrote the SDK to {}", vendored.display());
        let config = self.folder.join("tsconfig.json");
        if config.exists() {
            out_line!(
                "{} stays as it is. Its `paths` need \"bennu\": [\"./{}/src/index.ts\"]",
                config.display(),
                bennu_templates::SDK_FOLDER
            );
        } else {
            write(&self.folder, &[bennu_templates::editor_settings()])?;
            out_line!("Wrote {}", config.display());
        }
        Ok(())
    }
}
