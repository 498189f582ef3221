//! Closes the gaps that types leave, so that a person can read and edit the result.

/// Returns a source without types in which no gap is left. Lines may move. `blanked` is the source with blanks for its types.
pub(super) fn compacted(source: &str, blanked: &str) -> String {
    let (mut text, mut at) = (String::with_capacity(blanked.len()), 0);
    while at < blanked.len() {
        let rest = &blanked[at..];
        let gap = &rest[..rest.len() - rest.trim_start().len()];
        let own = source.get(at..at + gap.len()).unwrap_or(gap);
        let next = rest[gap.len()..].chars().next();
        // A list whose last part was a type.
        if own != gap && next == Some('}') && text.ends_with(',') {
            text.pop();
        }
        text.push_str(if own == gap { gap } else { closed(own) });
        text.extend(next);
        at += gap.len() + next.map_or(0, char::len_utf8);
    }
    text
}

/// Returns what remains of a gap: the blanks or the end of a line next to the types. `own` is the source of the gap.
fn closed(own: &str) -> &str {
    let before = &own[..own.len() - own.trim_start().len()];
    let after = &own[own.trim_end().len()..];
    let ends = |blanks: &str| blanks.matches('\n').count();
    if ends(before) > ends(after) {
        before
    } else if ends(after) > 0 {
        after
    } else {
        &after[..after.len().min(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::remove_types;

    #[track_caller]
    fn becomes(source: &str, expected: &str) {
        assert_eq!(remove_types("a.ts", source).unwrap_or_else(|error| error.to_string()), expected);
    }

    #[test]
    fn no_gap_is_left() {
        becomes("({ join({ user }: { user?: string }, socket) {} })", "({ join({ user }, socket) {} })");
        becomes("function f(a: number, b?: T): string {\n  return a as T;\n}", "function f(a, b) {\n  return a;\n}");
        becomes("const r = { votes: {} as Record<string, string> };", "const r = { votes: {} };");
        becomes("import { a, type B } from 'bennu';\na();", "import { a } from 'bennu';\na();");
        becomes("const a: {\n  x: 1,\n} = b;\n\nü()", "const a = b;\n\nü()");
        becomes("let a: T\nlet b = a as\n  T\nb()", "let a\nlet b = a\nb()");
        becomes("const a   =  1;", "const a   =  1;");
    }
}
