//! Finds state that a module keeps. It works with one instance, and loses users when the host makes a second one.

use std::collections::HashSet;

use oxc_ast::ast::{
    AssignmentTargetPropertyIdentifier, BindingPattern, Declaration, Expression, Program, SimpleAssignmentTarget,
    Statement, VariableDeclaration, VariableDeclarationKind,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::GetSpan as _;

/// The constructors of containers. An empty one in a module is there to be filled.
const CONTAINERS: [&str; 5] = ["Array", "Map", "Set", "WeakMap", "WeakSet"];

/// Returns warnings about variables of the module that change, each with its position. A `let` or `var` that nothing assigns to is a
/// constant: bundlers write them.
pub(super) fn warnings(program: &Program<'_>) -> Vec<(usize, String)> {
    let mut assigned = Assigned::default();
    assigned.visit_program(program);
    let mut warnings = Vec::new();
    for variables in program.body.iter().filter_map(variables_of).filter(|variables| !variables.declare) {
        let is_variable = variables.kind != VariableDeclarationKind::Const;
        for it in &variables.declarations {
            let is_assigned = it.init.is_none() || assigned.has(&it.id);
            if (is_variable && is_assigned) || it.init.as_ref().is_some_and(is_empty_container) {
                warnings.push((it.id.span().start as usize, warning(&it.id)));
            }
        }
    }
    warnings
}

/// The variables that a statement declares.
fn variables_of<'p, 'a>(statement: &'p Statement<'a>) -> Option<&'p VariableDeclaration<'a>> {
    match statement {
        Statement::VariableDeclaration(variables) => Some(variables),
        Statement::ExportDeclaration(export) => match &export.declaration {
            Declaration::VariableDeclaration(variables) => Some(variables),
            _ => None,
        },
        _ => None,
    }
}

/// The names that a program assigns to, in any scope.
#[derive(Default)]
struct Assigned(HashSet<String>);

impl Assigned {
    /// Whether a variable may be one of them. The names in a pattern aren't looked for, so it counts as one.
    fn has(&self, id: &BindingPattern<'_>) -> bool {
        id.get_identifier_name().is_none_or(|name| self.0.contains(name.as_str()))
    }
}

impl<'a> Visit<'a> for Assigned {
    fn visit_simple_assignment_target(&mut self, it: &SimpleAssignmentTarget<'a>) {
        if let Some(name) = it.get_identifier_name() {
            self.0.insert(name.to_string());
        }
        walk::walk_simple_assignment_target(self, it);
    }

    fn visit_assignment_target_property_identifier(&mut self, it: &AssignmentTargetPropertyIdentifier<'a>) {
        self.0.insert(it.binding.name.to_string());
        walk::walk_assignment_target_property_identifier(self, it);
    }
}

fn warning(id: &BindingPattern<'_>) -> String {
    let name = id.get_identifier_name().map_or_else(|| "this variable".to_owned(), |name| format!("`{name}`"));
    format!(
        "{name} is kept in the module: the host runs several instances of it and replaces them, so members see different values; \
         keep it in `state`, in `room`, or in the store"
    )
}

fn is_empty_container(value: &Expression<'_>) -> bool {
    match value.get_inner_expression() {
        Expression::ArrayExpression(array) => array.elements.is_empty(),
        Expression::ObjectExpression(object) => object.properties.is_empty(),
        Expression::NewExpression(new) => {
            let is_container =
                matches!(&new.callee, Expression::Identifier(name) if CONTAINERS.contains(&name.name.as_str()));
            is_container && new.arguments.is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::check;

    fn warnings(source: &str) -> Vec<String> {
        check("a.ts", source).map(|checked| checked.warnings).unwrap_or_default()
    }

    #[test]
    fn variables_and_empty_containers_of_a_module_are_warned_of() {
        let found = warnings(
            "let count = 0; const add = () => count++;\nexport const users: Map<string, string> = new Map();\nconst log = [] as string[];",
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a.ts:1:5: `count` is kept in the module"), "{}", found[0]);
        assert!(found[0].ends_with("\n  1 | let count = 0; const add = () => count++;\n    |     ^"), "{}", found[0]);
        assert!(found[1].starts_with("a.ts:2:14: `users`"), "{}", found[1]);
        assert!(found[2].starts_with("a.ts:3:7: `log`"), "{}", found[2]);
    }

    #[test]
    fn a_variable_is_state_only_if_something_assigns_to_it() {
        let source = "var max = 3; let sum = () => 1; let a, b = 1, c = 2, d = 3, e = 4;\n\
                      b += 1; [c] = [1]; ({ d } = { d: 1 }); for (e of []) {}";
        let found = warnings(source);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("`a` is kept"), "{found:?}");
    }

    #[test]
    fn constants_are_fine() {
        let source = "const MAX = 3, colors = ['red'], by = new Map([[1, 2]]); function f() { let a = []; return a }\ndeclare let x: 1;";
        assert_eq!(warnings(source), Vec::<String>::new());
    }
}
