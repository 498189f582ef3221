//! Reads the source of a script: finds mistakes before an engine runs it, and removes types.

use anyhow::{Result, bail};
use oxc_allocator::Allocator;
use oxc_ast::ast::{Program, Statement};
use oxc_ast_visit::Visit as _;
use oxc_parser::{Parser, ParserReturn};
use oxc_span::SourceType;

use super::blank::Blanker;
use super::compact::compacted;
use super::place::shown;
use super::state;

/// The module that a script may import.
const SDK: &str = "bennu";

/// The prefix of the modules of the contract, which a script may import too.
const CONTRACT: &str = "bennu:channel/";

/// A source that an engine can run.
pub(super) struct Checked {
    /// The source without types. Each character has the line and column that it has in the file.
    pub(super) text: String,
    /// Warnings, each with its place.
    pub(super) warnings: Vec<String>,
}

/// Checks the source of the file with this name.
///
/// # Errors
/// Returns the first mistake, with its place.
pub(super) fn check(file: &str, source: &str) -> Result<Checked> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, kind(file)).parse();
    let program = parsed_well(file, source, &parsed)?;
    let warnings = state::warnings(program).into_iter().map(|(at, what)| shown(file, source, at, &what)).collect();
    let text = blanked(file, source, program)?;
    check_imports(file, source, &program.body, &text)?;
    Ok(Checked { text, warnings })
}

/// Returns a source with blanks for its types. Each character has the line and column that it has in the file. Unlike a script, the
/// file may import any module.
///
/// # Errors
/// Returns the first mistake, with its place.
pub fn blank_types(file: &str, source: &str) -> Result<String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, kind(file)).parse();
    blanked(file, source, parsed_well(file, source, &parsed)?)
}

/// Returns a source without types, for people: no gaps are left, and lines may move.
///
/// # Errors
/// Returns the first mistake, with its place.
pub fn remove_types(file: &str, source: &str) -> Result<String> {
    Ok(compacted(source, &blank_types(file, source)?))
}

fn is_typed(file: &str) -> bool {
    file.ends_with(".ts")
}

fn kind(file: &str) -> SourceType {
    if is_typed(file) { SourceType::ts() } else { SourceType::mjs() }
}

/// Returns the program, or the first error of the parser with its place.
fn parsed_well<'p, 'a>(file: &str, source: &str, parsed: &'p ParserReturn<'a>) -> Result<&'p Program<'a>> {
    if let Some(error) = parsed.diagnostics.errors().next() {
        let at = error.labels.iter().next().map_or(0, |label| label.offset() as usize);
        let help = error.help.as_deref().map_or_else(String::new, |help| format!(" ({help})"));
        bail!(shown(file, source, at, &format!("{}{help}", error.message)));
    }
    Ok(&parsed.program)
}

fn blanked(file: &str, source: &str, program: &Program<'_>) -> Result<String> {
    if !is_typed(file) {
        return Ok(source.to_owned());
    }
    let mut blanker = Blanker::new(source);
    blanker.visit_program(program);
    if let Some((at, what)) = blanker.refused {
        bail!(shown(file, source, at, &format!("only types can be removed, and this is {what}")));
    }
    Ok(blanker.finish(&program.body))
}

/// Returns the source of one of the engine's own modules without types. If it had a mistake, its evaluation would fail.
pub(super) fn without_types(source: &str) -> String {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    let mut blanker = Blanker::new(source);
    blanker.visit_program(&parsed.program);
    blanker.finish(&parsed.program.body)
}

/// Refuses imports of other modules: a script is one file. Imports of types only are gone from `text`.
fn check_imports(file: &str, source: &str, statements: &[Statement<'_>], text: &str) -> Result<()> {
    for statement in statements {
        let import = match statement {
            Statement::ImportDeclaration(it) => &it.source,
            Statement::ExportFromDeclaration(it) => &it.source,
            Statement::ExportAllDeclaration(it) => &it.source,
            _ => continue,
        };
        let (name, at) = (import.value.as_str(), import.span.start as usize);
        let is_erased = text.as_bytes().get(at) != source.as_bytes().get(at);
        if !is_erased && name != SDK && !name.starts_with(CONTRACT) {
            bail!(shown(file, source, at, &missing(name)));
        }
    }
    Ok(())
}

/// Says why a module can't be imported.
pub(super) fn missing(name: &str) -> String {
    format!(
        "there is no module `{name}`: a script is one file and can import only `{SDK}`; make one file of several modules with a \
         bundler, such as `npx esbuild --bundle --format=esm --external:{SDK}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(source: &str) -> String {
        match check("a.ts", source) {
            Ok(checked) => checked.text,
            Err(error) => format!("refused: {error}"),
        }
    }

    /// Compares without repeated blanks, and checks that every character that remains has its old place.
    #[track_caller]
    fn erases(source: &str, expected: &str) {
        let text = typed(source);
        assert_eq!(text.len(), source.len(), "{text}");
        let moved = text.bytes().zip(source.bytes()).filter(|(new, old)| new != old && !b" ;)".contains(new)).count();
        assert_eq!(moved, 0, "{text}");
        let shown: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(shown.join(" "), expected, "{source}");
    }

    #[test]
    fn types_become_blanks() {
        erases("let a: number = 1, b!: string;", "let a = 1, b ;");
        erases(
            "function f<T>(this: T, a?: number, ...b: T[]): T { return a as T; }",
            "function f ( a , ...b ) { return a ; }",
        );
        erases("const g = async <T,>(a: T): Promise<T> => a!;", "const g = async (a ) => a ;");
        erases("const h = (a): {\n x: 1\n} => a;", "const h = (a ) => a;");
        erases("f<number>(<any>x, y satisfies T as U, new Map<string, number>());", "f ( x, y , new Map ());");
        erases("type A = 1\ninterface B { c: 1 }\nx()", "; ; x()");
        erases("declare const q: number; declare function r(): void; declare module 'm' {}", "; ; ;");
        erases("function o(a: 1): 1;\nfunction o(a: any) { return a }", "; function o(a ) { return a }");
        erases("export type { A } from './a'; export interface I {} export default interface J {}", "; ; ;");
        erases(
            "try {} catch (e: unknown) {} for (const x of y as T[]) {}",
            "try {} catch (e ) {} for (const x of y ) {}",
        );
        erases("const { a, b }: T = c; const [d]: U = e;", "const { a, b } = c; const [d] = e;");
        erases("enum_(); const t = f`x`; a < b; c >> d; x?.y!.z;", "enum_(); const t = f`x`; a < b; c >> d; x?.y .z;");
    }

    #[test]
    fn classes_keep_what_runs() {
        let class = "abstract class A<T> extends B<T> implements C, D<T> {\n  private readonly x?: number = 1;\n  declare y: string;\n  \
                     z!: T;\n  static #s?: T;\n  [key: string]: unknown;\n  abstract m(): void;\n  n(): void;\n  public override async n(a?: T): \
                     Promise<void> {}\n  get private() { return 1 }\n  readonly ['a']?: 1;\n}";
        erases(
            class,
            "class A extends B { x = 1; ; z ; static #s ; ; ; ; async n(a ) {} get private() { return 1 } ['a'] ; }",
        );
    }

    #[test]
    fn imports_that_are_only_types_go() {
        erases(
            "import { channel, type Socket, State } from 'bennu'; channel(1 as State)",
            "import { channel, } from 'bennu'; channel(1 )",
        );
        erases("import type { A } from './a'; import { B } from './b'; let x: B;", "; ; let x ;");
        erases("import { a } from 'bennu'; export { a };", "import { a } from 'bennu'; export { a };");
        erases("import D, { type E } from 'bennu'; D();", "import D, { } from 'bennu'; D();");
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(
            typed("const a = 1;\nconst b = ;\n"),
            "refused: a.ts:2:11: Unexpected token\n  2 | const b = ;\n    |           ^"
        );
        for (source, expected) in [
            ("enum E { A }", "a.ts:1:1: only types can be removed, and this is an `enum`"),
            (
                "x();\nnamespace N { export const a = 1 }",
                "a.ts:2:1: only types can be removed, and this is a `namespace`",
            ),
            ("class A { constructor(private x: number) {} }", "a.ts:1:23: only types can be removed"),
            ("import { x } from './x';\nx();", "a.ts:1:19: there is no module `./x`"),
            ("export * from 'lodash';", "a.ts:1:15: there is no module `lodash`"),
        ] {
            let refused = typed(source);
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(check("a.js", "let a: number = 1;").is_err());
        assert!(check("a.js", "import { now } from 'bennu:channel/host@0.1.0'; now();").is_ok());
    }

    #[test]
    fn no_source_makes_it_panic() {
        let source = include_str!("../../../../sdk/typescript/src/index.ts");
        for end in (0..source.len()).step_by(37).filter(|end| source.is_char_boundary(*end)) {
            let _ = check("a.ts", &source[..end]);
            let _ = check("a.js", &source[end..]);
        }
    }
}
