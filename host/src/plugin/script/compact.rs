//! Closes the gaps that types leave, so that a person can read and edit the result.

/// Returns a source without types in which no gap is left. Lines may move. `blanked` is the source with blanks for its types.
pub(super) fn compacted(source: &str, blanked: &str) -> String {
    let (mut text, mut at) = (String::with_capacity(blanked.len()), 0);
    while at < blanked.len() {
        let rest = &blanked[at..];
        let gap = rest.len() - rest.trim_start().len();
        let (own, next) = (&source.as_bytes()[at..at + gap], rest[gap..].chars().next());
        if own == &rest.as_bytes()[..gap] {
            text.push_str(&rest[..gap]);
        } else {
            close(&mut text, own, &rest[..gap], next);
        }
        text.extend(next);
        at += gap + next.map_or(0, char::len_utf8);
    }
    text
}

/// Writes what remains of a gap: the space that was there next to a type, or the ends of lines.
fn close(text: &mut String, source: &[u8], gap: &str, next: Option<char>) {
    if let Some(end) = gap.rfind('\n') {
        let lines = gap.matches('\n').count().min(2);
        text.extend(std::iter::repeat_n('\n', lines));
        text.push_str(&gap[end + 1..]);
        return;
    }
    // A list whose last part was a type.
    if next == Some('}') && text.ends_with(',') {
        text.pop();
    }
    if source.last().is_some_and(u8::is_ascii_whitespace) {
        text.push(' ');
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
        becomes("join({ user }: { user?: string }, socket) {}", "join({ user }, socket) {}");
        becomes("function f(a: number, b?: T): string {\n  return a as T;\n}", "function f(a, b) {\n  return a;\n}");
        becomes("const r = { votes: {} as Record<string, string> };", "const r = { votes: {} };");
        becomes("import { a, type B } from 'bennu';\na();", "import { a } from 'bennu';\na();");
        becomes("const a: {\n  x: 1,\n} = b;\n\nü()", "const a\n= b;\n\nü()");
        becomes("const a   =  1;", "const a   =  1;");
    }
}
