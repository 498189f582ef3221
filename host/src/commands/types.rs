//! `bennu types`.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use bennu_templates::{GO_SDK_FOLDER, SDK_FOLDER};
use clap::{Args, ValueEnum};

use super::written::write;

/// The crate that a plugin in Rust depends on, and its folder in that of the SDK.
const CRATE: &str = "bennu-guest";
const CRATE_FOLDER: &str = "guest";

/// Write the SDK, which editors and native tests need, to DIR. In Rust, Go and Python, builds need it too
#[derive(Args)]
pub(super) struct Types {
    /// The folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The language of the SDK [default: that of the project, or else ts]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lang {
    /// TypeScript and JavaScript, in DIR/vendor/bennu
    Ts,
    /// Rust, in DIR/vendor/bennu
    Rust,
    /// Go, in DIR/sdk/bennu
    Go,
    /// Python, in DIR/vendor/bennu
    Python,
}

impl Types {
    pub(super) fn run(self) -> Result<()> {
        match self.lang.unwrap_or_else(|| self.found()) {
            Lang::Ts => self.typescript(),
            Lang::Rust => self.rust(),
            Lang::Go => self.go(),
            Lang::Python => self.python(),
        }
    }

    /// The language of the project in the folder.
    fn found(&self) -> Lang {
        let has = |file: &str| self.folder.join(file).is_file();
        if has("go.mod") {
            Lang::Go
        } else if has(&format!("{SDK_FOLDER}/__main__.py")) {
            Lang::Python
        } else if self.depends_on_crates() || has(&format!("{SDK_FOLDER}/{CRATE_FOLDER}/Cargo.toml")) {
            Lang::Rust
        } else {
            Lang::Ts
        }
    }

    /// Whether the folder is a crate that depends on the SDK. Beside plugins in TypeScript, there may be any other crate.
    fn depends_on_crates(&self) -> bool {
        fs::read_to_string(self.folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains(CRATE))
    }

    fn rust(&self) -> Result<()> {
        let vendored = self.folder.join(SDK_FOLDER);
        write(&vendored, &bennu_templates::rust_sdk())?;
        out_line!(
            "Wrote the crates of the SDK to {}. A `Cargo.toml` needs these lines for them:\n\n  [dependencies]\n  \
             {CRATE} = {{ path = \"{SDK_FOLDER}/{CRATE_FOLDER}\" }}\n\n  [workspace]\n  exclude = [\"vendor\"]",
            vendored.display()
        );
        Ok(())
    }

    fn python(&self) -> Result<()> {
        let vendored = self.folder.join(SDK_FOLDER);
        write(&vendored, &bennu_templates::python_sdk())?;
        out_line!(
            "Wrote the SDK to {}. Editors find it with `vendor` in their path: the `pyproject.toml` of a new project has that",
            vendored.display()
        );
        Ok(())
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

    fn go(&self) -> Result<()> {
        let folder = self.folder.join(GO_SDK_FOLDER);
        write(&folder, &bennu_templates::go_sdk())?;
        out_line!(
            "Wrote the SDK to {}. A `go.mod` needs two lines for it:\n\n  require bennu.dev/bennu v{}\n  replace bennu.dev/bennu => \
             ./{GO_SDK_FOLDER}",
            folder.display(),
            env!("CARGO_PKG_VERSION")
        );
        Ok(())
    }
}
