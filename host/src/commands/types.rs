//! `bennu types`.

use std::path::PathBuf;

use anyhow::Result;
use bennu_templates::SDK_FOLDER;
use clap::{Args, ValueEnum};

use super::written::write;

/// Write the SDK, which editors and native tests need, to DIR/vendor/bennu. In Python, builds need it too
#[derive(Args)]
pub(super) struct Types {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The language of the SDK [default: that of DIR/vendor/bennu, or else ts]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lang {
    /// TypeScript and JavaScript
    Ts,
    /// Python
    Python,
}

impl Types {
    pub(super) fn run(self) -> Result<()> {
        let vendored = self.folder.join(SDK_FOLDER);
        let has_python = vendored.join("__main__.py").is_file();
        match self.lang.unwrap_or(if has_python { Lang::Python } else { Lang::Ts }) {
            Lang::Ts => self.typescript(),
            Lang::Python => {
                write(&vendored, &bennu_templates::python_sdk())?;
                out_line!(
                    "Wrote the SDK to {}. Editors find it with `vendor` in their path: the `pyproject.toml` of a new project has that",
                    vendored.display()
                );
                Ok(())
            }
        }
    }

    fn typescript(&self) -> Result<()> {
        let vendored = self.folder.join(SDK_FOLDER);
        write(&vendored, &bennu_templates::typescript_sdk())?;
        out_line!("Wrote the SDK to {}", vendored.display());
        let config = self.folder.join("tsconfig.json");
        if config.exists() {
            out_line!(
                "{} stays as it is. Its `paths` need \"bennu\": [\"./{SDK_FOLDER}/src/index.ts\"]",
                config.display()
            );
        } else {
            write(&self.folder, &[bennu_templates::editor_settings()])?;
            out_line!("Wrote {}", config.display());
        }
        Ok(())
    }
}
