//! `bennu store`: exports, imports, renames and measures the data of plugins in a data directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bennu::server::Config;
use bennu::store::{Existing, Owner, QUOTA_BYTES, Store as Storage};
use bennu::terminal::{Out, shown};
use clap::{Args, Subcommand};

use super::path_or_nothing;

/// Export, import, rename or measure the data of plugins in the data directory of a stopped host.
#[derive(Args)]
pub(super) struct Store {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write all keys and durable rooms as JSON lines
    Export {
        #[command(flatten)]
        place: Place,
        /// Export only the data of this plugin
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
        /// A file to write to, instead of standard output. Only this user can read the file
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Read the JSON lines of an export
    Import {
        #[command(flatten)]
        place: Place,
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        input: PathBuf,
        /// Keep the existing data of the plugins. Imported keys replace existing ones
        #[arg(long, conflicts_with = "replace")]
        merge: bool,
        /// First delete the existing data of the plugins that are in the file
        #[arg(long)]
        replace: bool,
    },
    /// Move all stored data from one name to another, after a plugin's file was renamed
    Rename {
        #[command(flatten)]
        place: Place,
        /// The name under which the data is stored
        #[arg(value_name = "OLD")]
        old: String,
        /// The new name. It must have no stored data
        #[arg(value_name = "NEW")]
        new: String,
    },
    /// Print the number of stored bytes of each plugin
    Usage {
        #[command(flatten)]
        place: Place,
    },
}

/// The flags that say which data directory is used.
#[derive(Args)]
struct Place {
    /// The data directory [default: `data` of the configuration, or the directory data]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing())]
    data: Option<PathBuf>,

    /// The host's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Store {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Export { place, plugin, output } => export(&place, plugin.as_deref(), output.as_deref()).await,
            What::Import { place, input, merge, replace } => {
                let existing = match (merge, replace) {
                    (true, _) => Existing::Merge,
                    (_, true) => Existing::Replace,
                    _ => Existing::Refuse,
                };
                import(&place, &input, existing).await
            }
            What::Rename { place, old, new } => rename(&place, &old, &new).await,
            What::Usage { place } => usage(&place).await,
        }
    }
}

impl Place {
    /// Reads the configuration. `--data` replaces its data directory.
    fn config(&self) -> Result<Config> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        if let Some(data) = self.data.as_ref().filter(|data| !data.as_os_str().is_empty()) {
            config.data.clone_from(data);
        }
        Ok(config)
    }

    /// Opens the store with the limits of the configuration, and creates it if it doesn't exist.
    async fn open_or_make(&self) -> Result<Storage> {
        let Config { data, limits, .. } = self.config()?;
        Storage::open(&data, limits.store()).await
    }

    /// Opens the store. Returns an error if the data directory doesn't exist.
    async fn open(&self) -> Result<Storage> {
        let Config { data, .. } = self.config()?;
        if !data.is_dir() {
            bail!("there is no data directory {}; name it with --data or --config", data.display());
        }
        self.open_or_make().await
    }
}

async fn export(place: &Place, plugin: Option<&str>, output: Option<&Path>) -> Result<()> {
    let store = place.open().await?;
    let owner = plugin.map(|name| Owner::new(name, QUOTA_BYTES)).transpose()?;
    let mut out: Box<dyn Write> = match output {
        Some(path) => Box::new(private(path).with_context(|| format!("making {}", path.display()))?),
        // Escaped only for a terminal: a file or a program gets the exact data.
        None if std::io::stdout().is_terminal() => Box::new(shown::JsonLines::new(Out)),
        None => Box::new(Out),
    };
    let exported = store.export(owner.as_ref(), &mut BufWriter::new(&mut out)).await?;
    error_line!("{} exported", rows(exported.rows));
    store.close().await;
    Ok(())
}

/// Creates a file that only this user can read, because it will contain plugins' data. An existing file is emptied.
fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let found = file.metadata()?;
    // The permissions of a device or a pipe are left as they are.
    if found.is_file() && found.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

async fn import(place: &Place, input: &Path, existing: Existing) -> Result<()> {
    let store = place.open_or_make().await?;
    let done = if input == Path::new("-") {
        store.import(&mut std::io::stdin().lock(), existing).await
    } else {
        let file = File::open(input).with_context(|| format!("opening {}", input.display()))?;
        store.import(&mut BufReader::new(file), existing).await
    };
    store.close().await;
    let imported = done.with_context(|| format!("importing {}", input.display()))?;
    error_line!("{} imported, of {} plugins", rows(imported.rows), imported.plugins);
    Ok(())
}

async fn rename(place: &Place, old: &str, new: &str) -> Result<()> {
    let store = place.open().await?;
    let owner = |name: &str| Owner::new(name, QUOTA_BYTES).with_context(|| format!("the name `{name}`"));
    let renamed = match (owner(old), owner(new)) {
        (Ok(old), Ok(new)) => store.rename(&old, &new).await,
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    store.close().await;
    error_line!("{} moved from `{old}` to `{new}`", rows(renamed?.rows));
    Ok(())
}

async fn usage(place: &Place) -> Result<()> {
    let store = place.open().await?;
    for (plugin, bytes) in store.usages().await? {
        out_line!("{}: {bytes} bytes", shown::name(&plugin));
    }
    store.close().await;
    Ok(())
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}
