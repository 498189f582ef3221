//! The URL of a service that the host uses, which may have a password in it.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::auth::SecretSource;

/// The URL of a service.
#[derive(Clone, PartialEq, Eq)]
pub enum ServiceUrl {
    /// It is written in the configuration, without a password.
    Written(String),
    /// It is a secret.
    Secret(SecretSource),
}

impl ServiceUrl {
    /// Returns the text. Reads the secret.
    pub(super) fn read(&self, beside: &Path) -> Result<String> {
        match self {
            Self::Written(url) => Ok(url.clone()),
            Self::Secret(source) => Ok(source.read(beside)?.expose()?.trim().to_owned()),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    /// A URL in the file is shown only after it was checked for a password. So this shows none at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(_) => f.write_str("Written"),
            Self::Secret(source) => source.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for ServiceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = ServiceUrl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL without a password, or a table with `env` or `file`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ServiceUrl, E> {
        Ok(ServiceUrl::Written(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServiceUrl, A::Error> {
        SecretSource::deserialize(MapAccessDeserializer::new(map)).map(ServiceUrl::Secret)
    }
}
