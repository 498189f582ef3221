//! `bennu new`.

use std::fs;
use std::io::{self, BufRead as _, ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bennu::plugin::remove_types;
use bennu_templates::{File, Language, Name, Template, project};
use clap::{Args, ValueEnum};

use super::written::write;

/// Begin a project: a channel, its tests, and a page, in a new folder. Needs no network.
#[derive(Args)]
pub(super) struct New {
    /// The folder to make. Its last part is the name of the plugin
    #[arg(value_name = "NAME")]
    folder: PathBuf,

    /// The language of the channel [default: ts]
    #[arg(long, value_enum)]
    lang: Option<Lang>,

    /// What the project begins with [default: chat]
    #[arg(long, value_enum)]
    template: Option<Start>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lang {
    /// TypeScript, served as source
    Ts,
    /// JavaScript, served as source
    Js,
    /// Rust, compiled to WebAssembly
    Rust,
    /// Go, compiled to WebAssembly
    Go,
    /// Python, compiled to WebAssembly with its interpreter
    Python,
}

#[derive(Clone, Copy, ValueEnum)]
enum Start {
    /// Messages, and who is here
    Chat,
    /// A state that all members of a topic share
    Room,
    /// A tick, and players who come back after a lost connection
    Game,
    /// A topic for each user, messages from other programs, stored data
    Notifications,
}

impl New {
    pub(super) fn run(self) -> Result<()> {
        let name =
            self.folder.file_name().and_then(|name| name.to_str()).context("give the name of a folder to make")?;
        let name = Name::parse(name).map_err(|why| anyhow!(why))?;
        check_empty(&self.folder)?;
        // Someone at a terminal who chooses nothing may not know that there is a choice.
        let asks =
            self.lang.is_none() && self.template.is_none() && io::stdin().is_terminal() && io::stdout().is_terminal();
        let lang = if asks { ask::<Lang>("Which language?")? } else { self.lang.unwrap_or(Lang::Ts) };
        let template = if asks { ask::<Start>("Which template?")? } else { self.template.unwrap_or(Start::Chat) };

        let mut files = project(&name, lang.language(), template.template());
        if matches!(lang, Lang::Js) {
            files.iter_mut().filter(|file| file.path.ends_with(".js")).try_for_each(to_javascript)?;
        }
        write(&self.folder, &files)?;
        let folder = self.folder.display();
        out_line!(
            "Made {folder}: the template `{}` in {}. Next:\n\n  cd {folder}\n{}  bennu dev",
            template.template().name(),
            lang.title(),
            lang.preparation()
        );
        Ok(())
    }
}

impl Lang {
    fn language(self) -> Language {
        match self {
            Self::Ts => Language::TypeScript,
            Self::Js => Language::JavaScript,
            Self::Rust => Language::Rust,
            Self::Go => Language::Go,
            Self::Python => Language::Python,
        }
    }

    /// The command that installs what a build needs, if that is for the project alone.
    fn preparation(self) -> &'static str {
        match self {
            Self::Python => "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n",
            Self::Ts | Self::Js | Self::Rust | Self::Go => "",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Ts => "TypeScript",
            Self::Js => "JavaScript",
            Self::Rust => "Rust",
            Self::Go => "Go",
            Self::Python => "Python",
        }
    }
}

impl Start {
    fn template(self) -> Template {
        match self {
            Self::Chat => Template::Chat,
            Self::Room => Template::Room,
            Self::Game => Template::Game,
            Self::Notifications => Template::Notifications,
        }
    }
}

/// Refuses a folder that has something in it, so that nothing is overwritten.
fn check_empty(folder: &Path) -> Result<()> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            ensure!(
                entries.next().is_none(),
                "{} isn't empty; choose another name, or empty the folder",
                folder.display()
            );
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("reading {}", folder.display())),
    }
}

/// Removes the types of a file in TypeScript.
fn to_javascript(file: &mut File) -> Result<()> {
    let text = std::str::from_utf8(&file.content).context("a template is text")?;
    file.content = remove_types("template.ts", text)?.into_bytes();
    Ok(())
}

/// Asks at the terminal for one of the values. An empty line is the first one.
fn ask<T: ValueEnum>(question: &str) -> Result<T> {
    out_line!("{question}");
    let values = T::value_variants();
    for (at, value) in values.iter().enumerate() {
        let value = value.to_possible_value().context("each value can be chosen")?;
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        out_line!("  {}  {:<14} {help}", at + 1, value.get_name());
    }
    let mut input = io::stdin().lock();
    for _ in 0..ASKED_MAX {
        out_line!("A number or a name [1]:");
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            bail!("no answer was given");
        }
        if let Some(value) = chosen(line.trim(), values) {
            return Ok(value);
        }
    }
    bail!("that is none of the choices")
}

/// How often a question is repeated after an answer that is none of the choices.
const ASKED_MAX: u32 = 3;

fn chosen<T: ValueEnum>(answer: &str, values: &[T]) -> Option<T> {
    let at = match answer {
        "" => 0,
        _ => match answer.parse::<usize>() {
            Ok(number) => number.checked_sub(1)?,
            Err(_) => return T::from_str(answer, true).ok(),
        },
    };
    values.get(at).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_number_a_name_or_nothing() {
        let chosen = |answer| chosen(answer, Lang::value_variants()).map(Lang::title);
        for (answer, title) in
            [("", "TypeScript"), ("1", "TypeScript"), ("2", "JavaScript"), ("rust", "Rust"), ("TS", "TypeScript")]
        {
            assert_eq!(chosen(answer), Some(title), "{answer}");
        }
        for answer in ["0", "9", "cobol", "-1"] {
            assert_eq!(chosen(answer), None, "{answer}");
        }
    }
}
