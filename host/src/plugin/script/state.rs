//! Finds state that a module keeps. It works with one instance, and loses users when the host makes a second one.

use oxc_ast::ast::{BindingPattern, Declaration, Expression, Program, Statement, VariableDeclarationKind};
use oxc_span::GetSpan as _;

/// The constructors of containers. An empty one in a module is there to be filled.
const CONTAINERS: [&str; 5] = ["Array", "Map", "Set", "WeakMap", "WeakSet"];

/// Returns warnings about variables of the module that can change, each with its position.
pub(super) fn warnings<'p>(program: &'p Program<'_>) -> impl Iterator<Item = (usize, String)> + 'p {
    program.body.iter().flat_map(|statement| {
        let variables = match statement {
            Statement::VariableDeclaration(variables) => Some(&**variables),
            Statement::ExportDeclaration(export) => match &export.declaration {
                Declaration::VariableDeclaration(variables) => Some(&**variables),
                _ => None,
            },
            _ => None,
        };
        let variables = variables.filter(|variables| !variables.declare);
        variables.into_iter().flat_map(|variables| {
            let is_variable = variables.kind != VariableDeclarationKind::Const;
            let changing = variables.declarations.iter();
            changing.filter(move |it| is_variable || it.init.as_ref().is_some_and(is_empty_container)).map(|it| {
                let at = it.id.span().start as usize;
                (at, warning(&it.id))
            })
        })
    })
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
            "let count = 0;\nexport const users: Map<string, string> = new Map();\nconst log = [] as string[];",
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a.ts:1:5: `count` is kept in the module"), "{}", found[0]);
        assert!(found[0].ends_with("\n  1 | let count = 0;\n    |     ^"), "{}", found[0]);
        assert!(found[1].starts_with("a.ts:2:14: `users`"), "{}", found[1]);
        assert!(found[2].starts_with("a.ts:3:7: `log`"), "{}", found[2]);
    }

    #[test]
    fn constants_are_fine() {
        let source = "const MAX = 3, colors = ['red'], by = new Map([[1, 2]]); function f() { let a = []; return a }\ndeclare let x: 1;";
        assert_eq!(warnings(source), Vec::<String>::new());
    }
}
