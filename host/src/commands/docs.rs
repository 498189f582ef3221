//! `bennu docs`.

use std::io::Write as _;

use anyhow::{Context, Result};
use bennu::terminal::Out;
use bennu_templates::{page_names, pages};
use clap::Args;
use clap::builder::PossibleValuesParser;

/// Print a page of the documentation of this version, or list the pages
#[derive(Args)]
pub(super) struct Docs {
    /// The page, such as `configuration`. In a page, a link to `limits.md` is to the page `limits`
    #[arg(value_name = "PAGE", value_parser = PossibleValuesParser::new(page_names()), hide_possible_values = true)]
    page: Option<String>,
}

impl Docs {
    pub(super) fn run(self) -> Result<()> {
        let pages = pages();
        let name = |path: &str| path.trim_end_matches(".md").to_owned();
        if let Some(wanted) = self.page {
            let page = pages.iter().find(|page| name(&page.path) == wanted).context("there is no such page")?;
            Out.write_all(&page.content)?;
            return Ok(());
        }
        let longest = page_names().map(str::len).max().unwrap_or_default();
        for page in &pages {
            // The first line is the title.
            let text = String::from_utf8_lossy(&page.content);
            let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
            out_line!("{:<longest$}  {title}", name(&page.path));
        }
        Ok(())
    }
}
