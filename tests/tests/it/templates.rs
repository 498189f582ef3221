//! The templates of projects in Rust, with their own tests, and the sizes of all templates. `tests/phoenix/projects.test.mjs` has whole
//! projects.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::places;

/// The lints of the workspace aren't those of a project.
macro_rules! template {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
        mod $name;
    };
}

template!(chat, "../../../templates/files/chat/lib.rs");
template!(game, "../../../templates/files/game/lib.rs");
template!(notifications, "../../../templates/files/notifications/lib.rs");
template!(room, "../../../templates/files/room/lib.rs");

/// The number of lines of a source without comments and blank lines.
fn lines_of_code(file: &str, source: &str) -> usize {
    let comments: &[&str] = if file.ends_with(".py") { &["#", "\"\"\""] } else { &["//", "/*", "* "] };
    let is_code = |line: &&str| !line.is_empty() && !comments.iter().any(|begin| line.starts_with(begin));
    source.lines().map(str::trim).filter(is_code).count()
}

/// The first template that a person sees fits on a screen in each language.
const CHAT_LINES_MAX: usize = 30;

#[test]
fn the_documentation_has_the_sizes_of_the_templates() -> Result<()> {
    let workspace = places::workspace()?;
    let page = fs::read_to_string(workspace.join("docs/projects.md"))?;
    for template in ["chat", "room", "game", "notifications"] {
        let files = [format!("{template}.ts"), "channels.py".into(), "lib.rs".into(), format!("{template}.go")];
        let mut row = format!("| `{template}` |");
        for file in files {
            let path = workspace.join("templates/files").join(template).join(&file);
            let source = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let lines = lines_of_code(&file, &source);
            ensure!(template != "chat" || lines <= CHAT_LINES_MAX, "{file} of the chat has {lines} lines");
            row += &format!(" {lines} |");
        }
        ensure!(page.contains(&row), "docs/projects.md must have {row}");
    }
    Ok(())
}
