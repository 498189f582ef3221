//! Draws a table of this benchmark as a bar chart in SVG, so that the plots in the documents can be made again.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

/// Draw a table of Markdown, as this program prints it, as bars on a logarithmic scale.
///
/// Each row of the table is a group of bars, and each column is a series. The value of a cell is the first number in it. A
/// cell without a number has no bar.
#[derive(Args)]
pub(crate) struct Plot {
    /// The file with the table
    #[arg(value_name = "FILE.md")]
    file: PathBuf,

    /// Which table of the file: the first one whose header contains this text
    #[arg(long, value_name = "TEXT")]
    table: String,

    /// The file that is written
    #[arg(long, value_name = "FILE.svg")]
    output: PathBuf,

    /// The title
    #[arg(long)]
    title: String,

    /// Leave out rows that contain this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    without: Vec<String>,
}

/// A table: the names of its series, and its groups with a value for each series.
#[derive(Debug, PartialEq)]
struct Table {
    series: Vec<String>,
    groups: Vec<(String, Vec<Option<f64>>)>,
}

/// Colors that people with a color vision deficiency can also distinguish (Okabe and Ito, 2008).
const COLORS: [&str; 6] = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"];

const LABELS_WIDTH: f64 = 320.0;
const BARS_WIDTH: f64 = 420.0;
const VALUE_WIDTH: f64 = 70.0;
const BAR: f64 = 14.0;
const GAP: f64 = 12.0;
const HEAD: f64 = 64.0;

impl Plot {
    pub(crate) fn run(&self) -> Result<()> {
        let text = fs::read_to_string(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let mut table = Table::read(&text, &self.table)
            .with_context(|| format!("no table in {} has `{}` in its header", self.file.display(), self.table))?;
        table.groups.retain(|(name, _)| !self.without.iter().any(|text| name.contains(text)));
        ensure!(table.values().next().is_some(), "the table has no numbers");
        fs::write(&self.output, table.draw(&self.title))
            .with_context(|| format!("cannot write {}", self.output.display()))
    }
}

impl Table {
    /// Reads the first table whose header contains `header`.
    fn read(text: &str, header: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !(line.starts_with('|') && line.contains(header)));
        let series = cells(lines.next()?).skip(1).map(str::to_owned).collect();
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        let groups = rows.map(|row| {
            let mut cells = cells(row);
            let name = cells.next().unwrap_or_default().replace('`', "");
            (name, cells.map(number).collect())
        });
        Some(Self { series, groups: groups.collect() })
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.groups.iter().flat_map(|(_, values)| values.iter().flatten().copied()).filter(|value| *value > 0.0)
    }

    /// The powers of ten that enclose all values.
    fn range(&self) -> (f64, f64) {
        let (least, greatest) = self.values().fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)));
        let (low, high) = (least.log10().floor(), greatest.log10().ceil());
        // The bar of the smallest value must have a visible length.
        (if least.log10() - low < 0.05 { low - 1.0 } else { low }, high.max(low + 1.0))
    }

    fn draw(&self, title: &str) -> String {
        let (low, high) = self.range();
        let x = |value: f64| LABELS_WIDTH + BARS_WIDTH * (value.log10() - low) / (high - low);
        let group_height = |values: &[Option<f64>]| values.len() as f64 * BAR + GAP;
        let height = HEAD + self.groups.iter().map(|(_, values)| group_height(values)).sum::<f64>() + 24.0;
        let width = LABELS_WIDTH + BARS_WIDTH + VALUE_WIDTH;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"8\" y=\"20\" \
             font-size=\"15\" font-weight=\"bold\">{}</text>\n",
            escaped(title)
        );
        let mut at = 8.0;
        for (name, color) in self.series.iter().zip(COLORS.iter().cycle()) {
            let _ = writeln!(svg, "<rect x=\"{at}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{color}\"/>");
            let _ = writeln!(svg, "<text x=\"{}\" y=\"42\">{}</text>", at + 17.0, escaped(name));
            at += 34.0 + 7.0 * name.chars().count() as f64;
        }
        for power in (low as i32)..=(high as i32) {
            let (value, at) = (10f64.powi(power), x(10f64.powi(power)));
            let _ = writeln!(svg, "<path d=\"M{at} {HEAD}V{}\" stroke=\"#ddd\"/>", height - 20.0);
            let _ = writeln!(
                svg,
                "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{value}</text>",
                height - 6.0
            );
        }
        let mut y = HEAD + GAP / 2.0;
        for (name, values) in &self.groups {
            let middle = y + values.len() as f64 * BAR / 2.0 + 4.0;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
                LABELS_WIDTH - 8.0,
                escaped(name)
            );
            for (value, color) in values.iter().zip(COLORS.iter().cycle()) {
                if let Some(value) = value.filter(|value| *value > 0.0) {
                    let length = x(value) - LABELS_WIDTH;
                    let _ = writeln!(
                        svg,
                        "<rect x=\"{LABELS_WIDTH}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{color}\"/>\
                         <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{value}</text>",
                        BAR - 2.0,
                        LABELS_WIDTH + length + 5.0,
                        y + 10.0
                    );
                }
                y += BAR;
            }
            y += GAP;
        }
        svg + "</svg>\n"
    }
}

/// The cells of a row.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim().trim_start_matches('|').trim_end_matches('|').split('|').map(str::trim)
}

/// The first number in a cell. Commas separate thousands.
fn number(cell: &str) -> Option<f64> {
    let start = cell.find(|character: char| character.is_ascii_digit())?;
    let digits =
        cell[start..].split(|character: char| !(character.is_ascii_digit() || ".,".contains(character))).next()?;
    digits.replace(',', "").trim_end_matches('.').parse().ok()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Text.\n\n| other |\n| --- |\n| 1 |\n\n| CPU time | bennu | axum |\n| --- | --- | --- |\n\
                        | an `echo` | 1.5 (1.2–1.6) | 1,300 bytes |\n| idle | | 10 |\n\nMore.\n";

    #[test]
    fn the_table_with_the_header_is_read() {
        let table = Table::read(TEXT, "CPU time").expect("the table is found");
        let groups = vec![("an echo".into(), vec![Some(1.5), Some(1300.0)]), ("idle".into(), vec![None, Some(10.0)])];
        assert_eq!(table, Table { series: vec!["bennu".into(), "axum".into()], groups });
        assert_eq!(Table::read(TEXT, "memory"), None);
    }

    #[test]
    fn bars_are_as_long_as_the_logarithms_of_their_values() {
        let table = Table {
            series: vec!["a".into()],
            groups: vec![("<x>".into(), vec![Some(10.0)]), ("y".into(), vec![Some(2.0)])],
        };
        let svg = table.draw("Title & more");
        assert!(svg.contains(&format!("width=\"{BARS_WIDTH:.1}\"")), "the greatest value has the whole width: {svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", BARS_WIDTH * 2f64.log10())), "{svg}");
        assert!(svg.contains("&lt;x&gt;") && svg.contains("Title &amp; more"), "{svg}");
    }
}
