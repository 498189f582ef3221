//! What a language has to say about a build.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// How the plugins of one language are built. A further language is one more file with an implementation.
pub trait Language: Send + Sync {
    /// The name of the language, for people.
    fn name(&self) -> &'static str;

    /// The extension of the built file: `wasm`, `js` or `ts`.
    fn extension(&self) -> &str;

    /// The program that builds the plugin. With `is_quiet`, it prints only warnings and errors. `scratch` is a folder for its
    /// result, next to that of built plugins.
    ///
    /// # Errors
    /// Returns an error if the program can't be found, with the way to install it.
    fn build(&self, scratch: &Path, is_quiet: bool) -> Result<Invocation>;

    /// The file that the program has made. `output` is what it has written to its standard output.
    ///
    /// # Errors
    /// Returns an error if it has made no plugin, with the reason.
    fn product(&self, scratch: &Path, output: &[u8]) -> Result<PathBuf>;

    /// The files and folders that the program reads.
    fn watched(&self) -> Vec<PathBuf>;

    /// Whether the program reads a file below a watched folder, if the table names no watched files.
    fn reads(&self, _file: &Path) -> bool {
        true
    }

    /// Whether the program changes no watched file. Otherwise a change while it runs says nothing.
    fn leaves_sources_alone(&self) -> bool {
        true
    }

    /// What to do about a failure, if the language knows better than the program.
    fn advice(&self, failure: &Failure<'_>) -> Option<Advice>;

    /// The program that runs the language's own tests of this plugin, if there is one.
    fn tests(&self) -> Option<Invocation> {
        None
    }
}

/// A program with its arguments and its working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: PathBuf,
    /// The environment variables that it has besides those of this process.
    pub variables: Vec<(OsString, OsString)>,
    /// Whether its standard output is shown to the developer. Otherwise it is for [`Language::product`].
    pub is_output_for_people: bool,
}

/// A build that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Whether the program doesn't exist.
    pub is_absent: bool,
    /// What the program has written to its standard error.
    pub errors: &'a str,
}

/// What to do about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// A sentence for the developer.
    pub text: String,
    /// A program that may mend it. If it succeeds, the build runs once more.
    pub remedy: Option<Invocation>,
}

impl Invocation {
    /// A program in a directory.
    pub(super) fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
        directory: &Path,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        let (program, directory) = (program.into(), directory.to_owned());
        Self { program, arguments, directory, variables: Vec::new(), is_output_for_people: true }
    }

    /// The same program with these environment variables.
    pub(super) fn with_variables(self, variables: &[(&str, &str)]) -> Self {
        Self { variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(), ..self }
    }

    /// The same program, whose standard output is for [`Language::product`].
    pub(super) fn with_messages(self) -> Self {
        Self { is_output_for_people: false, ..self }
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{}", self.program.display())?;
        self.arguments.iter().try_for_each(|argument| write!(text, " {}", argument.display()))
    }
}
