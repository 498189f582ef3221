//! A strict reader of Prometheus' text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// A scrape of a host.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The type of each metric.
    pub types: BTreeMap<String, String>,
    /// Each value, by its name and its labels.
    values: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    /// Reads the text, and checks it: each metric has a help, a type and its values together; names and labels follow the
    /// grammar and the conventions; no value is there twice; a histogram is complete.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn read(text: &str) -> Result<Self> {
        let mut scrape = Self::default();
        let (mut helped, mut current) = (None, None);
        ensure!(text.ends_with('\n'), "the last line has no end");
        for line in text.lines() {
            let mut read = || -> Result<()> {
                if let Some(rest) = line.strip_prefix("# HELP ") {
                    let (name, help) = rest.split_once(' ').context("no help")?;
                    ensure!(
                        help.len() > 5 && help.ends_with(['.', ';']) | help.contains("docs/"),
                        "a sentence: {help}"
                    );
                    helped = Some(name.to_owned());
                } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                    let (name, kind) = rest.split_once(' ').context("no type")?;
                    ensure!(helped.as_deref() == Some(name), "the help comes first");
                    check_name(name, kind)?;
                    let is_new = scrape.types.insert(name.to_owned(), kind.to_owned()).is_none();
                    ensure!(is_new, "the metric is there twice");
                    current = Some((name.to_owned(), kind.to_owned()));
                } else {
                    let (name, kind) = current.as_ref().context("a value without a type")?;
                    scrape.read_value(line, name, kind)?;
                }
                Ok(())
            };
            read().with_context(|| format!("line: {line}"))?;
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    fn read_value(&mut self, line: &str, family: &str, kind: &str) -> Result<()> {
        let (series, value) = line.rsplit_once(' ').context("no value")?;
        let value: f64 = value.parse().context("not a number")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels)?),
            None => (series, BTreeMap::new()),
        };
        let belongs = match kind {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(family)),
            _ => name == family,
        };
        ensure!(belongs, "it isn't a value of {family}");
        ensure!(kind == "gauge" || value >= 0.0, "it is negative");
        ensure!(self.values.insert((name.to_owned(), labels), value).is_none(), "it is there twice");
        Ok(())
    }

    fn check_histograms(&self) -> Result<()> {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut last: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
            for ((name, labels), value) in &self.values {
                if name.strip_suffix("_bucket") == Some(family) {
                    let mut labels = labels.clone();
                    let bound = labels.remove("le").context("a bucket without a bound")?;
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse()? };
                    last.entry(labels).or_default().push((bound, *value));
                }
            }
            for (labels, mut buckets) in last {
                buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
                ensure!(buckets.is_sorted_by_key(|(_, count)| *count), "{family}{labels:?} isn't cumulative");
                let count = self.values.get(&(format!("{family}_count"), labels.clone()));
                let end = buckets.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| count);
                ensure!(end.is_some() && end == count, "{family}{labels:?} has no complete count");
                ensure!(self.values.contains_key(&(format!("{family}_sum"), labels)), "{family} has no sum");
            }
        }
        Ok(())
    }

    /// The sum of the values of a metric that have these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |all: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| all.get(*key).is_some_and(|found| found == value))
        };
        self.values.iter().filter(|((found, all), _)| found == name && has(all)).map(|(_, value)| value).sum()
    }

    /// The values of a label.
    #[must_use]
    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of_name = self.values.keys().filter(|(found, _)| found == name);
        of_name.filter_map(|(_, labels)| labels.get(label).cloned()).collect()
    }

    /// All values of all labels.
    #[must_use]
    pub fn all_labels(&self) -> BTreeSet<String> {
        self.values.keys().flat_map(|(_, labels)| labels.values().cloned()).collect()
    }
}

/// Checks a name by Prometheus' conventions.
fn check_name(name: &str, kind: &str) -> Result<()> {
    ensure!(name.starts_with("bennu_") || name.starts_with("process_"), "the prefix");
    ensure!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "the characters of the name");
    match kind {
        "counter" => ensure!(name.ends_with("_total"), "a counter ends with `_total`"),
        "gauge" => ensure!(!name.ends_with("_total") && !name.ends_with("_count"), "a gauge isn't a total"),
        "histogram" => ensure!(name.ends_with("_seconds"), "a histogram of durations is in seconds"),
        other => bail!("the type {other}"),
    }
    ensure!(!name.contains("_ms"), "times are in seconds");
    Ok(())
}

/// Reads labels after the opening brace.
fn read_labels(text: &str) -> Result<BTreeMap<String, String>> {
    let mut rest = text.strip_suffix('}').context("no closing brace")?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").context("a label without a value")?;
        ensure!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty(), "the label {name}");
        let (mut value, mut end) = (String::new(), None);
        let mut characters = after.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => match characters.next().context("an escape without a character")?.1 {
                    'n' => value.push('\n'),
                    escaped @ ('"' | '\\') => value.push(escaped),
                    other => bail!("the escape {other}"),
                },
                other => value.push(other),
            }
        }
        ensure!(labels.insert(name.to_owned(), value).is_none(), "the label {name} twice");
        rest = &after[end.context("a value without an end")? + 1..];
        if let Some(more) = rest.strip_prefix(',') {
            rest = more;
        } else {
            ensure!(rest.is_empty(), "text after a value");
        }
    }
    Ok(labels)
}
