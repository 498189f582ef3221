//! Removes the types of TypeScript: each becomes blanks, so that every other character keeps its line and column.

use std::collections::HashSet;

use oxc_ast::ast::{
    AccessorProperty, AccessorPropertyType, ArrowFunctionExpression, Class, ClassElement, Declaration,
    ExportNamedDeclaration, FormalParameter, IdentifierReference, ImportDeclaration, ImportDeclarationSpecifier,
    ImportOrExportKind, MethodDefinition, MethodDefinitionType, PropertyDefinition, PropertyDefinitionType, Statement,
    TSAsExpression, TSNonNullExpression, TSSatisfiesExpression, TSThisParameter, TSTypeAnnotation, TSTypeAssertion,
    TSTypeParameterDeclaration, TSTypeParameterInstantiation, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};

/// Blanks the types in a source.
pub(super) struct Blanker<'s> {
    source: &'s str,
    blanked: Vec<u8>,
    /// Syntax that can't be removed, because it has a meaning at run time: where, and what it is.
    pub(super) refused: Option<(usize, &'static str)>,
    /// The names that the source uses as values. An import of another name is of a type.
    values: HashSet<String>,
}

/// The words before a class member that only TypeScript has.
const MODIFIERS: [&str; 7] = ["public", "private", "protected", "readonly", "override", "declare", "abstract"];

impl<'s> Blanker<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, blanked: source.as_bytes().to_vec(), refused: None, values: HashSet::new() }
    }

    /// Blanks the imports of names that were only used as types, and returns the result. All statements were visited.
    pub(super) fn finish(mut self, statements: &[Statement<'_>]) -> String {
        for statement in statements {
            if let Statement::ImportDeclaration(import) = statement {
                self.blank_unused(import);
            }
        }
        // Only whole syntax nodes were blanked, so the result is UTF-8. If that were wrong, the engine would refuse the text.
        String::from_utf8_lossy(&self.blanked).into_owned()
    }

    fn blank(&mut self, from: u32, to: u32) {
        for byte in &mut self.blanked[from as usize..to as usize] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// Blanks a whole statement or class member. A semicolon remains, so that the lines around it don't become one statement.
    fn blank_whole(&mut self, span: Span) {
        self.blank(span.start, span.end);
        self.blanked[span.start as usize] = b';';
    }

    fn refuse(&mut self, span: Span, what: &'static str) {
        self.refused.get_or_insert((span.start as usize, what));
    }

    /// Returns the position of the next character that isn't blank or in a comment.
    fn next(&self, from: u32) -> usize {
        let bytes = self.source.as_bytes();
        let mut at = from as usize;
        loop {
            match bytes.get(at) {
                Some(byte) if byte.is_ascii_whitespace() => at += 1,
                Some(b'/') if bytes.get(at + 1) == Some(&b'/') => {
                    at = self.source[at..].find('\n').map_or(bytes.len(), |newline| at + newline);
                }
                Some(b'/') if bytes.get(at + 1) == Some(&b'*') => {
                    at = self.source[at + 2..].find("*/").map_or(bytes.len(), |end| at + end + 4);
                }
                _ => return at,
            }
        }
    }

    /// Blanks the next character if it is `mark`.
    fn blank_mark(&mut self, from: u32, mark: u8) {
        let at = self.next(from);
        if self.source.as_bytes().get(at) == Some(&mark) {
            self.blanked[at] = b' ';
        }
    }

    /// Blanks an item of a list, and the comma after it.
    fn blank_item(&mut self, span: Span) {
        self.blank(span.start, span.end);
        self.blank_mark(span.end, b',');
    }

    /// Blanks the modifiers between `from` and `to`.
    fn blank_modifiers(&mut self, from: u32, to: u32) {
        let mut at = self.next(from);
        while at < to as usize {
            let word =
                self.source[at..to as usize].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            if word.is_empty() {
                at += 1;
            } else {
                let end = at + word.len();
                if MODIFIERS.contains(&word) {
                    self.blanked[at..end].fill(b' ');
                }
                at = end;
            }
            at = self.next(u32::try_from(at).unwrap_or(to));
        }
    }

    /// Blanks what follows the key of a class member: `?` or `!`.
    fn blank_marks(&mut self, key_end: u32, is_computed: bool) {
        let from = if is_computed { u32::try_from(self.next(key_end) + 1).unwrap_or(key_end) } else { key_end };
        self.blank_mark(from, b'?');
        self.blank_mark(from, b'!');
    }

    /// Whether a statement has no meaning at run time. Refuses a statement that has one, but can't stay as it is.
    fn is_erased(&mut self, statement: &Statement<'_>) -> bool {
        match statement {
            Statement::ExportDeclaration(export) => self.is_erased_declaration(&export.declaration),
            Statement::ExportNamedDeclaration(export) => export.export_kind.is_type(),
            Statement::ExportFromDeclaration(export) => export.export_kind.is_type(),
            Statement::ExportAllDeclaration(export) => export.export_kind.is_type(),
            Statement::ImportDeclaration(import) => import.import_kind.is_type(),
            Statement::ExportDefaultDeclaration(export) => {
                use oxc_ast::ast::ExportDefaultDeclarationKind as Kind;
                match &export.declaration {
                    Kind::TSInterfaceDeclaration(_) => true,
                    Kind::FunctionDeclaration(function) => function.body.is_none(),
                    _ => false,
                }
            }
            Statement::TSExportAssignment(export) => {
                self.refuse(export.span, "`export =`; write `export default`");
                false
            }
            Statement::TSNamespaceExportDeclaration(_) => true,
            _ => statement.as_declaration().is_some_and(|declaration| self.is_erased_declaration(declaration)),
        }
    }

    fn is_erased_declaration(&mut self, declaration: &Declaration<'_>) -> bool {
        match declaration {
            Declaration::TSTypeAliasDeclaration(_)
            | Declaration::TSInterfaceDeclaration(_)
            | Declaration::TSExternalModuleDeclaration(_)
            | Declaration::TSGlobalDeclaration(_) => true,
            Declaration::VariableDeclaration(variables) => variables.declare,
            Declaration::FunctionDeclaration(function) => function.declare || function.body.is_none(),
            Declaration::ClassDeclaration(class) => class.declare,
            Declaration::TSEnumDeclaration(it) => {
                if !it.declare {
                    self.refuse(it.span, "an `enum`; write an object, such as `const Color = { Red: 0 } as const`");
                }
                it.declare
            }
            Declaration::TSNamespaceDeclaration(it) => {
                if !it.declare {
                    self.refuse(it.span, "a `namespace`; write an object");
                }
                it.declare
            }
            Declaration::TSImportEqualsDeclaration(it) => {
                if !it.import_kind.is_type() {
                    self.refuse(it.span, "`import =`; write `import … from`");
                }
                it.import_kind.is_type()
            }
        }
    }

    /// Blanks the imported names that are used only as types. If none remains, the whole statement is blanked.
    fn blank_unused(&mut self, import: &ImportDeclaration<'_>) {
        let Some(specifiers) = &import.specifiers else { return };
        let is_value = |specifier: &ImportDeclarationSpecifier<'_>| {
            let is_type =
                matches!(specifier, ImportDeclarationSpecifier::ImportSpecifier(it) if it.import_kind.is_type());
            !is_type && self.values.contains(specifier.local().name.as_str())
        };
        let unused: Vec<Span> = specifiers.iter().filter(|it| !is_value(it)).map(GetSpan::span).collect();
        if !specifiers.is_empty() && unused.len() == specifiers.len() {
            return self.blank_whole(import.span);
        }
        for specifier in specifiers {
            // A default import is before the braces, or before `* as`. It stays: an unused name does no harm there.
            if matches!(specifier, ImportDeclarationSpecifier::ImportSpecifier(_)) && unused.contains(&specifier.span())
            {
                self.blank_item(specifier.span());
            }
        }
    }

    /// A line break isn't allowed between the parameters of an arrow function and its arrow. If the return type has one, the
    /// parenthesis moves to the end of the type.
    fn move_parenthesis(&mut self, parameters: Span, return_type: Span) {
        let is_multiline = self.source[return_type.start as usize..return_type.end as usize].contains('\n');
        let closing =
            self.source[..return_type.start as usize].rfind(')').filter(|at| *at + 1 >= parameters.end as usize);
        if let (true, Some(closing)) = (is_multiline, closing) {
            self.blanked[closing] = b' ';
            self.blanked[return_type.end as usize - 1] = b')';
        }
    }
}

impl<'a> Visit<'a> for Blanker<'_> {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        if self.is_erased(it) {
            self.blank_whole(it.span());
        } else {
            walk::walk_statement(self, it);
        }
    }

    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        if !self.values.contains(it.name.as_str()) {
            self.values.insert(it.name.to_string());
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        for specifier in &it.specifiers {
            if specifier.export_kind == ImportOrExportKind::Type {
                self.blank_item(specifier.span);
            } else if let Some(name) = specifier.local.identifier_name() {
                self.values.insert(name.to_string());
            }
        }
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.blank_item(it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.blank(it.span.start, it.expression.span().start);
        self.visit_expression(&it.expression);
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            self.blank_mark(it.id.span().end, b'!');
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.refuse(it.span, "a parameter that is also a property; assign it in the constructor");
        }
        if it.optional {
            self.blank_mark(it.pattern.span().end, b'?');
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        walk::walk_arrow_function_expression(self, it);
        if let Some(return_type) = &it.return_type {
            self.move_parenthesis(it.params.span, return_type.span);
        }
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        walk::walk_class(self, it);
        let start = it.decorators.last().map_or(it.span.start, |last| last.span.end);
        if it.r#abstract {
            self.blank_mark_word(start, "abstract");
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let before = &self.source[..first.span.start as usize];
            let from = before.rfind("implements").unwrap_or(first.span.start as usize);
            self.blank(u32::try_from(from).unwrap_or(first.span.start), last.span.end);
        }
    }

    fn visit_ts_class_implements_list(&mut self, _it: &oxc_allocator::Vec<'a, oxc_ast::ast::TSClassImplements<'a>>) {}

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        let is_erased = match it {
            ClassElement::TSIndexSignature(_) => true,
            ClassElement::MethodDefinition(it) => {
                it.r#type == MethodDefinitionType::TSAbstractMethodDefinition || it.value.body.is_none()
            }
            ClassElement::PropertyDefinition(it) => {
                it.declare || it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition
            }
            ClassElement::AccessorProperty(it) => it.r#type == AccessorPropertyType::TSAbstractAccessorProperty,
            ClassElement::StaticBlock(_) => false,
        };
        if is_erased {
            self.blank_whole(it.span());
        } else {
            walk::walk_class_element(self, it);
        }
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        walk::walk_method_definition(self, it);
        let start = it.decorators.last().map_or(it.span.start, |last| last.span.end);
        self.blank_modifiers(start, it.key.span().start);
        if it.optional {
            self.blank_marks(it.key.span().end, it.computed);
        }
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        walk::walk_property_definition(self, it);
        let start = it.decorators.last().map_or(it.span.start, |last| last.span.end);
        self.blank_modifiers(start, it.key.span().start);
        if it.optional || it.definite {
            self.blank_marks(it.key.span().end, it.computed);
        }
    }

    fn visit_accessor_property(&mut self, it: &AccessorProperty<'a>) {
        walk::walk_accessor_property(self, it);
        let start = it.decorators.last().map_or(it.span.start, |last| last.span.end);
        self.blank_modifiers(start, it.key.span().start);
        if it.definite {
            self.blank_marks(it.key.span().end, it.computed);
        }
    }
}

impl Blanker<'_> {
    /// Blanks the next word if it is `word`.
    fn blank_mark_word(&mut self, from: u32, word: &str) {
        let at = self.next(from);
        if self.source[at..].starts_with(word) {
            self.blanked[at..at + word.len()].fill(b' ');
        }
    }
}
