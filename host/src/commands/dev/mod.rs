//! `bennu dev`.

mod board;
mod console;
mod developer;
mod page;
mod watch;
mod writes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use bennu::project::Project;
use bennu::protocol::Pattern;
use bennu::server::{Config, LogEvent, Overview, ServiceManager, Start, start_logging_with};
use clap::Args;

use super::hosting;
use super::signals::Signals;
use board::{Board, ProblemKind};
use console::{DevEvent, Paint};
use developer::Developer;

/// Serve the project in this folder, and build and serve it again on each save. Shows logs and errors in the terminal and on the page.
#[derive(Args)]
pub(super) struct Dev {
    /// The project's configuration file [default: bennu.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The address to listen on [default: 127.0.0.1:4000]; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// Run the project's tests on each save
    #[arg(long)]
    test: bool,

    /// The log filter: a level, or directives such as info,guest=debug. With it, the host's own lines are shown too
    #[arg(long, env = "BENNU_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// The default filter of the log: everything that plugins log for developers.
const LOG: &str = "info,guest=debug";

impl Dev {
    pub(super) async fn run(self) -> Result<()> {
        let project = Arc::new(Project::read(Path::new("."), self.config.as_deref())?);
        let config = self.config(&project.config);
        let (board, paint) = (Arc::new(Board::new()), Paint::of_terminal());
        let overview = Arc::new(OnceLock::new());
        let log = self.log.as_deref().filter(|log| !log.trim().is_empty());
        let all = log.is_some();
        let (shown, known) = (Arc::clone(&board), Arc::clone(&overview));
        start_logging_with(log.unwrap_or(LOG), move |event| show(event, all, &shown, known.get(), paint))?;
        let mut signals = Signals::listen()?;
        if !project.targets.is_empty() {
            fs::create_dir_all(project.output()).context("creating the folder of built plugins")?;
        }
        let mut developer = Developer::new(&project, &board, paint, self.test)?;
        tokio::select! {
            () = developer.build_all() => {}
            () = signals.stop(|| {}) => return Ok(()),
        }
        project.plain_plugins()?.iter().for_each(|(name, _)| board.note_saved(name));
        let manager = ServiceManager::default();
        let Some(mut host) = hosting::start(&config, Start::default(), &mut signals).await? else { return Ok(()) };
        host.add_routes(page::routes(Arc::clone(&board), host.intake(), config.static_directory.is_some()));
        host.insert_into_pages(page::INSERTED);
        let _ = overview.set(host.overview());
        developer.follow_host(host.overview());
        error_line!("Open http://{}/ in two windows. Each save is served at once; Ctrl-C ends.", host.address()?);
        tokio::select! {
            served = hosting::serve(host, &config.data, signals, &manager) => served,
            never = developer.follow() => match never {},
        }
    }

    /// The configuration of the project with what is different while it is developed.
    fn config(&self, config: &Config) -> Config {
        let mut config = config.clone();
        config.listen = self.listen.clone().unwrap_or(config.listen);
        // On probation, calls that a new build fails are answered by the build before, which would hide mistakes.
        config.reload.probation_ms = 0;
        config.repeats_calls = true;
        // A developer causes many faults.
        config.limits.user.faults_per_minute = 0;
        config.limits.address.faults_per_minute = 0;
        config
    }
}

/// Makes the text of an event for the terminal, and puts it on the board.
fn show(event: &LogEvent, all: bool, board: &Board, overview: Option<&Overview>, paint: Paint) -> Option<String> {
    Some(match DevEvent::of(event, all)? {
        DevEvent::Generation { plugin, generation, topics, compiling, is_first } => {
            let took: Duration = board.take_saved(&plugin).unwrap_or(compiling);
            let patterns: Vec<_> = topics.split(' ').filter_map(|pattern| Pattern::parse(pattern).ok()).collect();
            let members = overview.filter(|_| !is_first).map(|overview| overview.members(&patterns));
            board.serve(&plugin, generation, &topics);
            paint.good(&plugin, &console::generation(generation, took, &topics, members))
        }
        DevEvent::Refused { plugin, why } => {
            board.fail(&plugin, ProblemKind::Refused, &why);
            paint.bad(&plugin, &format!("refused\n{why}"))
        }
        DevEvent::Fault { plugin, place, text } => {
            board.add_fault(&plugin, &place, &text);
            paint.bad(&plugin, &format!("fault in {place}\n{text}"))
        }
        DevEvent::Logged { plugin, topic, level, line } => paint.logged(&plugin, &topic, level, &line),
        DevEvent::Other { plugin: Some(plugin), text, .. } => {
            return board.is_new_remark(&plugin, &text).then(|| paint.bad(&plugin, &text));
        }
        DevEvent::Other { plugin: None, level, text } => paint.remark(level, &text),
    })
}
