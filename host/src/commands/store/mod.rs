//! `bennu store`: backups, exports, imports, checks and sizes of the data of plugins.

mod backup;
mod check;
mod export;
mod import;
mod look;
mod restore;
mod source;
mod stoppable;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bennu::server::Config;
use bennu::store::{Existing, Owner, QUOTA_BYTES, Store as Storage, StorePlace};
use clap::{Args, Subcommand};

use self::import::Input;
use self::look::Which;
use super::ask::Ask;
use super::path_or_nothing;

/// Back up, restore, check, export, import, rename or measure the data of plugins.
///
/// `backup`, `export`, `usage`, `get` and `scan` read the data of a running host through its API, and otherwise the data directory. The other
/// commands need the data directory of a stopped host.
#[derive(Args)]
pub(super) struct Store {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write a backup of all data, as it is now. The host may be running
    Backup {
        #[command(flatten)]
        ask: Ask,
        /// The file. An existing one is replaced when the backup is complete. In a directory, the backup gets a name with the time
        #[arg(value_name = "PATH")]
        place: PathBuf,
        /// Back up only the data of this plugin
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
        /// Then remove all but the last COUNT backups from the directory
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        keep: Option<u32>,
    },
    /// Restore a backup into an empty data directory
    Restore {
        #[command(flatten)]
        place: Place,
        /// The backup
        #[arg(value_name = "FILE")]
        input: PathBuf,
    },
    /// Check that a backup or an export is complete and undamaged
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        input: PathBuf,
    },
    /// Read all files of the store, and check that they are undamaged. Nothing is changed. The host must be stopped
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Write all data as JSON lines. The host may be running
    Export {
        #[command(flatten)]
        ask: Ask,
        /// Export only the data of this plugin
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,
        /// A file to write to, instead of standard output. An existing one is replaced when the export is complete. Only this user
        /// can read it
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Read the JSON lines of an export, or the store of another data directory. The host must be stopped
    Import {
        #[command(flatten)]
        place: Place,
        /// The file, or - for standard input
        #[arg(value_name = "FILE", required_unless_present = "directory", conflicts_with = "directory")]
        input: Option<PathBuf>,
        /// Import the store of this data directory, for example into the database of the configuration
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Keep the existing data of the plugins. Imported keys replace existing ones
        #[arg(long, conflicts_with = "replace")]
        merge: bool,
        /// First delete the existing data of the plugins that are in the file
        #[arg(long)]
        replace: bool,
    },
    /// Move all stored data from one name to another, after a plugin's file was renamed. The host must be stopped
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
    /// Print the number of stored bytes of each plugin. The host may be running
    Usage {
        #[command(flatten)]
        ask: Ask,
        /// Print only the data under this name
        #[arg(value_name = "PLUGIN")]
        plugin: Option<String>,
        /// Print the COUNT topics of each plugin that have the most bytes, too
        #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000))]
        topics: u32,
    },
    /// Print a stored row as JSON. The host may be running
    Get {
        #[command(flatten)]
        ask: Ask,
        #[command(flatten)]
        which: Which,
        /// The key, or the topic of a room
        #[arg(value_name = "KEY")]
        key: String,
        /// Write only the bytes of the value
        #[arg(long)]
        raw: bool,
    },
    /// Print the stored rows whose keys begin with a prefix as lines of JSON. The host may be running
    Scan {
        #[command(flatten)]
        ask: Ask,
        #[command(flatten)]
        which: Which,
        /// The prefix
        #[arg(value_name = "PREFIX", default_value = "")]
        prefix: String,
        /// Print at most this number of rows
        #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
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
            What::Backup { ask, place, plugin, keep } => {
                backup::backup(&ask, &place, plugin.as_deref(), keep.map(number)).await
            }
            What::Restore { place, input } => restore::restore(&place, &input).await,
            What::Verify { input } => backup::verify(&input).await,
            What::Check { place } => check::check(&place).await,
            What::Export { ask, plugin, output } => export::export(&ask, plugin.as_deref(), output.as_deref()).await,
            What::Import { place, input, directory, merge, replace } => {
                let existing = match (merge, replace) {
                    (true, _) => Existing::Merge,
                    (_, true) => Existing::Replace,
                    _ => Existing::Refuse,
                };
                let input = match (input, directory) {
                    (_, Some(directory)) => Input::Directory(directory),
                    (Some(input), None) if input != Path::new("-") => Input::File(input),
                    _ => Input::Standard,
                };
                import::import(place, input, existing).await
            }
            What::Rename { place, old, new } => rename(place, &old, &new).await,
            What::Usage { ask, plugin, topics } => look::usage(&ask, plugin.as_deref(), number(topics)).await,
            What::Get { ask, which, key, raw } => look::get(&ask, &which, &key, raw).await,
            What::Scan { ask, which, prefix, limit } => look::scan(&ask, &which, &prefix, number(limit)).await,
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
        let config = self.config()?;
        Storage::open_at(&config.store_place()?, config.limits.store()).await
    }

    /// Opens the store. Returns an error if the data directory doesn't exist.
    async fn open(&self) -> Result<Storage> {
        if let StorePlace::Directory(data) = self.config()?.store_place()?
            && !data.is_dir()
        {
            bail!("there is no data directory {}; name it with --data or --config", data.display());
        }
        self.open_or_make().await
    }
}

/// What a rename that was stopped says: it is one batch, which is committed as a whole or not at all.
const RENAME_STOPPED: &str =
    "stopped: all of the data has the old name, or all of it has the new one; `bennu store usage` says which";

async fn rename(place: Place, old: &str, new: &str) -> Result<()> {
    let moved = format!("moved from `{old}` to `{new}`");
    let owner = |name: &str| Owner::new(name, QUOTA_BYTES).with_context(|| format!("the name `{name}`"));
    let (old, new) = (owner(old)?, owner(new)?);
    let renamed = stoppable::stoppable_future(RENAME_STOPPED, move || async move {
        let store = place.open().await?;
        let renamed = store.rename(&old, &new).await;
        store.close().await;
        renamed
    });
    error_line!("{} {moved}", rows(renamed.await?.rows));
    Ok(())
}

/// Converts a number of the command line.
fn number(given: u32) -> usize {
    usize::try_from(given).unwrap_or(usize::MAX)
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}
