//! The source of a secret: an environment variable or a file.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::Secret;

/// The maximum number of bytes of a secret. A larger file is probably the wrong one.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// The source of a secret: `{ env = "NAME" }` or `{ file = "path" }`. A configuration never contains the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file. A newline at its end isn't part of the secret. A relative path is relative to the configuration's directory.
    File(PathBuf),
    /// A string in the configuration, which may be the secret itself. [`SecretSource::check`] refuses it.
    ///
    /// It isn't refused during parsing, because an error of the TOML parser quotes the line, and would print the secret.
    Written,
}

impl SecretSource {
    /// Refuses a secret that is written into the configuration.
    ///
    /// # Errors
    /// Returns an error that says where secrets come from. It doesn't contain the secret.
    pub fn check(&self) -> Result<()> {
        ensure!(
            *self != Self::Written,
            "secrets come from the environment or a file, and are never written here: \
             give {{ env = \"NAME\" }} or {{ file = \"path\" }}"
        );
        Ok(())
    }

    /// Reads the secret. Relative paths are relative to the directory `beside`.
    ///
    /// # Errors
    /// Returns an error if the secret doesn't exist, is empty or has more than 64 KiB. The error names the variable or the
    /// file, and never contains the secret.
    pub fn read(&self, beside: &Path) -> Result<Secret> {
        self.check()?;
        match self {
            Self::Env(name) => from_variable(name, std::env::var_os(name).as_deref()),
            Self::File(path) => from_file(&beside.join(path)),
            Self::Written => bail!("a secret is written into the configuration"),
        }
    }
}

/// The maximum number of secrets that are in use at a time: one and its successor.
const SECRETS_MAX: usize = 2;

/// The sources of one or two secrets: a source, or a list of two. The first secret signs, and both verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSources(Vec<SecretSource>);

impl SecretSources {
    /// Refuses secrets that are written into the configuration, and a list of none or more than two.
    ///
    /// # Errors
    /// As [`SecretSource::check`].
    pub fn check(&self) -> Result<()> {
        let many = self.0.len();
        ensure!((1..=SECRETS_MAX).contains(&many), "it has {many} secrets; give one, or a list of two");
        self.0.iter().try_for_each(SecretSource::check)
    }

    /// Reads the secrets. There is at least one.
    ///
    /// # Errors
    /// As [`SecretSource::read`].
    pub fn read(&self, beside: &Path) -> Result<Vec<Secret>> {
        self.check()?;
        self.0.iter().map(|source| source.read(beside)).collect()
    }
}

impl<'de> Deserialize<'de> for SecretSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadingSeveral)
    }
}

struct ReadingSeveral;

impl<'de> Visitor<'de> for ReadingSeveral {
    type Value = SecretSources;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Reading.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretSources, E> {
        Ok(SecretSources(vec![Reading.visit_str(text)?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSources, A::Error> {
        Ok(SecretSources(vec![Reading.visit_map(map)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SecretSources, A::Error> {
        let mut sources = Vec::new();
        while let Some(source) = list.next_element()? {
            sources.push(source);
        }
        Ok(SecretSources(sources))
    }
}

fn from_variable(name: &str, value: Option<&OsStr>) -> Result<Secret> {
    let value = value.with_context(|| format!("the environment variable {name} is not set; it holds a secret"))?;
    checked(value.as_bytes()).with_context(|| format!("the secret in the environment variable {name}"))
}

fn from_file(path: &Path) -> Result<Secret> {
    let mut bytes = Vec::new();
    let most = SECRET_BYTES_MAX as u64 + 2;
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .with_context(|| format!("reading the secret in {}", path.display()))?;
    // Removes only the newline that an editor or `echo` adds, because a secret may end in a space.
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    checked(line).with_context(|| format!("the secret in {}", path.display()))
}

fn checked(bytes: &[u8]) -> Result<Secret> {
    ensure!(!bytes.is_empty(), "it is empty");
    ensure!(bytes.len() <= SECRET_BYTES_MAX, "it has more than {SECRET_BYTES_MAX} bytes");
    Ok(Secret::new(bytes))
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"NAME\" } or { file = \"path\" }, because secrets come from the environment or a file")
    }

    fn visit_str<E>(self, _: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Written)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            env: Option<String>,
            file: Option<PathBuf>,
        }
        match Named::deserialize(MapAccessDeserializer::new(map))? {
            Named { env: Some(name), file: None } => Ok(SecretSource::Env(name)),
            Named { env: None, file: Some(path) } => Ok(SecretSource::File(path)),
            _ => Err(A::Error::custom("a secret comes from one place: { env = \"NAME\" } or { file = \"path\" }")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Table {
        key: SecretSource,
    }

    fn parse(text: &str) -> Result<SecretSource> {
        Ok(toml::from_str::<Table>(text)?.key)
    }

    #[test]
    fn a_source_names_a_variable_or_a_file() -> Result<()> {
        assert_eq!(parse("key = { env = \"NAME\" }")?, SecretSource::Env("NAME".into()));
        assert_eq!(parse("[key]\nfile = \"a/b\"")?, SecretSource::File("a/b".into()));
        let cases = [
            ("key = {}", "from one place"),
            ("key = { env = \"A\", file = \"b\" }", "from one place"),
            ("key = { value = \"hunter2\" }", "`env` or `file`"),
            ("key = { env = 1 }", "string"),
            ("key = 1", "secrets come from the environment or a file"),
        ];
        for (text, words) in cases {
            let error = parse(text).err().context("refused")?.to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        Ok(())
    }

    #[test]
    fn there_are_one_or_two_secrets() -> Result<()> {
        #[derive(Deserialize)]
        struct Several {
            key: SecretSources,
        }
        let read = |text: &str| -> Result<SecretSources> {
            let sources = toml::from_str::<Several>(text)?.key;
            sources.check()?;
            Ok(sources)
        };
        let (a, b) = (SecretSource::Env("A".into()), SecretSource::File("b".into()));
        assert_eq!(read("key = { env = \"A\" }")?, SecretSources(vec![a.clone()]));
        assert_eq!(read("key = [{ env = \"A\" }, { file = \"b\" }]")?, SecretSources(vec![a, b]));
        let three = "key = [{ env = \"A\" }, { env = \"B\" }, { env = \"C\" }]";
        for (text, words) in [
            ("key = []", "it has 0 secrets"),
            (three, "it has 3 secrets"),
            ("key = [\"hunter2\"]", "secrets come from the environment or a file"),
            ("key = \"hunter2\"", "secrets come from the environment or a file"),
            ("key = [{}]", "from one place"),
        ] {
            let error = format!("{:#}", read(text).err().context("refused")?);
            assert!(error.contains(words) && !error.contains("hunter2"), "{text}: {error}");
        }
        Ok(())
    }

    #[test]
    fn a_secret_in_the_configuration_is_refused_without_being_repeated() -> Result<()> {
        let source = parse("key = \"hunter2\"")?;
        assert!(!format!("{source:?}").contains("hunter2"));
        for error in [source.check().err(), source.read(Path::new(".")).err()] {
            let error = format!("{:#}", error.context("refused")?);
            assert!(error.contains("secrets come from the environment or a file"), "{error}");
            assert!(
                error.contains("{ env = \"NAME\" } or { file = \"path\" }") && !error.contains("hunter2"),
                "{error}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_file_loses_the_newline_that_ends_it() -> Result<()> {
        let home = tempfile::tempdir()?;
        let source = SecretSource::File("key".into());
        let cases: [(&[u8], &[u8]); 5] =
            [(b"a b", b"a b"), (b"a\n", b"a"), (b"a\r\n", b"a"), (b"a \n", b"a "), (b"\xff\n\n", b"\xff\n")];
        for (content, expected) in cases {
            std::fs::write(home.path().join("key"), content)?;
            assert!(source.read(home.path())?.matches(expected), "{content:?}");
        }
        Ok(())
    }

    #[test]
    fn errors_name_the_place_and_never_the_content() -> Result<()> {
        let home = tempfile::tempdir()?;
        std::fs::write(home.path().join("empty"), "\n")?;
        std::fs::write(home.path().join("large"), "s3cret".repeat(SECRET_BYTES_MAX))?;
        let file = |name: &str| SecretSource::File(name.into()).read(home.path()).err();
        let cases = [
            (file("absent"), "absent", "No such file"),
            (file("empty"), "empty", "it is empty"),
            (file("large"), "large", "it has more than 65536 bytes"),
            (SecretSource::Env("BENNU_NO_SUCH".into()).read(home.path()).err(), "BENNU_NO_SUCH", "is not set"),
            (from_variable("EMPTY", Some(OsStr::new(""))).err(), "EMPTY", "it is empty"),
        ];
        for (error, place, words) in cases {
            let error = format!("{:#}", error.context("refused")?);
            assert!(error.contains(place) && error.contains(words) && !error.contains("s3cret"), "{error}");
        }
        // PATH is set wherever tests run.
        let path = std::env::var("PATH")?;
        assert!(SecretSource::Env("PATH".into()).read(home.path())?.matches(path.as_bytes()));
        Ok(())
    }
}
