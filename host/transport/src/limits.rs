//! How big a document is, found before anything runs.

use std::collections::HashMap;

use async_graphql::{
    Name, Pos, Positioned, ServerError,
    parser::types::{
        Directive, ExecutableDocument, FragmentDefinition, OperationDefinition, OperationType,
        Selection, SelectionSet,
    },
};

use crate::{DocumentLimits, codes, failure::coded};

/// Introspection needs depth (a type inside seven list and non-null wrappers is deep) but must not cycle through the
/// schema; the lists below are the way to cycle.
const INTROSPECTION_DEPTH: usize = 20;
const INTROSPECTION_LISTS: [&str; 4] = ["fields", "inputFields", "interfaces", "possibleTypes"];
const INTROSPECTION_NESTED_LISTS: usize = 2;

/// Checks the text before the parser sees it: the parser recurses over brackets and spends time on every token.
pub(crate) fn check_text(
    text: &str,
    max_bytes: usize,
    limits: &DocumentLimits,
) -> Result<(), ServerError> {
    if text.len() > max_bytes {
        return Err(too_complex("bytes", text.len(), max_bytes, None));
    }
    let shape = scan(text);
    if shape.tokens > limits.tokens {
        return Err(too_complex("tokens", shape.tokens, limits.tokens, None));
    }
    if shape.brackets > limits.brackets {
        return Err(too_complex(
            "brackets",
            shape.brackets,
            limits.brackets,
            None,
        ));
    }
    Ok(())
}

struct TextShape {
    tokens: usize,
    brackets: usize,
}

/// Counts tokens and the deepest nesting of brackets, without judging the text (GraphQL specification, section 2.1).
fn scan(text: &str) -> TextShape {
    let bytes = text.as_bytes();
    let mut shape = TextShape {
        tokens: 0,
        brackets: 0,
    };
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' | 0xEF | 0xBB | 0xBF => at += 1,
            b'#' => {
                at += bytes[at..]
                    .iter()
                    .take_while(|byte| !matches!(byte, b'\n' | b'\r'))
                    .count()
            }
            b'"' => {
                shape.tokens += 1;
                at = end_of_string(bytes, at);
            }
            b'{' | b'[' | b'(' => {
                open += 1;
                shape.brackets = shape.brackets.max(open);
                shape.tokens += 1;
                at += 1;
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                shape.tokens += 1;
                at += 1;
            }
            byte if is_word(byte) => {
                shape.tokens += 1;
                at += bytes[at..]
                    .iter()
                    .take_while(|byte| is_word(**byte))
                    .count();
            }
            _ => {
                shape.tokens += 1;
                at += 1;
            }
        }
    }
    shape
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+')
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let block = bytes[start..].starts_with(b"\"\"\"");
    let mut at = start + if block { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        if block {
            if bytes[at..].starts_with(b"\\\"\"\"") {
                at += 4;
                continue;
            }
            if bytes[at..].starts_with(b"\"\"\"") {
                return at + 3;
            }
        } else {
            match byte {
                b'\\' => {
                    at += 2;
                    continue;
                }
                b'"' => return at + 1,
                b'\n' | b'\r' => return at,
                _ => {}
            }
        }
        at += 1;
    }
    bytes.len()
}

/// What a selection costs, fragments included.
#[derive(Clone, Copy, Default)]
struct Size {
    depth: usize,
    introspection_depth: usize,
    nested_lists: usize,
    aliases: usize,
    root_fields: usize,
    directives: usize,
    fields: usize,
}

/// Checks every operation of a parsed document.
pub(crate) fn check_document(
    document: &ExecutableDocument,
    limits: &DocumentLimits,
) -> Result<(), ServerError> {
    let operations = document.operations.iter().len();
    if operations > limits.operations {
        return Err(too_complex(
            "operations",
            operations,
            limits.operations,
            None,
        ));
    }
    if document.fragments.len() > limits.fragments {
        return Err(too_complex(
            "fragments",
            document.fragments.len(),
            limits.fragments,
            None,
        ));
    }
    let mut measure = Measure {
        document,
        fragments: HashMap::new(),
    };
    for (_, operation) in document.operations.iter() {
        let size = measure.operation(&operation.node)?;
        let checks = [
            ("depth", size.depth, limits.depth),
            (
                "introspectionDepth",
                size.introspection_depth,
                INTROSPECTION_DEPTH,
            ),
            (
                "introspectionLists",
                size.nested_lists,
                INTROSPECTION_NESTED_LISTS,
            ),
            ("aliases", size.aliases, limits.aliases),
            ("rootFields", size.root_fields, limits.root_fields),
            ("directives", size.directives, limits.directives),
            ("fields", size.fields, limits.fields),
        ];
        for (what, actual, maximum) in checks {
            if actual > maximum {
                return Err(too_complex(what, actual, maximum, Some(operation.pos)));
            }
        }
        // GraphQL specification, section 5.2.4.1.
        if operation.node.ty == OperationType::Subscription && size.root_fields > 1 {
            return Err(coded(
                codes::VALIDATION_FAILED,
                "A subscription selects exactly one root field",
                Some(operation.pos),
            ));
        }
    }
    Ok(())
}

fn too_complex(what: &str, actual: usize, maximum: usize, position: Option<Pos>) -> ServerError {
    let message =
        format!("The document is too complex: {what} is {actual}, at most {maximum} is allowed");
    let mut error = coded(codes::QUERY_TOO_COMPLEX, message, position);
    if let Some(extensions) = &mut error.extensions {
        extensions.set("limit", what);
        extensions.set("actual", actual);
        extensions.set("maximum", maximum);
    }
    error
}

/// Measures each fragment once, however often it is spread: a chain of fragments that each spread the next twice has
/// an exponential size, found in linear time.
struct Measure<'a> {
    document: &'a ExecutableDocument,
    /// `None` while a fragment is being measured, so that meeting it again is a cycle. One entry for each place a
    /// fragment can stand in: ordinary fields, and inside introspection.
    fragments: HashMap<(&'a str, bool), Option<Size>>,
}

impl<'a> Measure<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Size, ServerError> {
        let mut size = self.selections(&operation.selection_set.node, false)?;
        let variables: usize = operation
            .variable_definitions
            .iter()
            .map(|variable| variable.node.directives.len())
            .sum();
        size.directives = size
            .directives
            .saturating_add(operation.directives.len())
            .saturating_add(variables);
        Ok(size)
    }

    fn selections(
        &mut self,
        set: &'a SelectionSet,
        introspection: bool,
    ) -> Result<Size, ServerError> {
        let mut total = Size::default();
        for selection in &set.items {
            let (inner, directives): (Size, &[Positioned<Directive>]) = match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    let enters = introspection || name == "__schema" || name == "__type";
                    let mut size = self.selections(&field.node.selection_set.node, enters)?;
                    if enters {
                        size.introspection_depth += 1;
                        size.nested_lists += usize::from(INTROSPECTION_LISTS.contains(&name));
                    } else {
                        size.depth += 1;
                    }
                    size.aliases = size
                        .aliases
                        .saturating_add(usize::from(field.node.alias.is_some()));
                    size.fields = size.fields.saturating_add(1);
                    size.root_fields = 1;
                    (size, &field.node.directives)
                }
                Selection::InlineFragment(fragment) => (
                    self.selections(&fragment.node.selection_set.node, introspection)?,
                    &fragment.node.directives,
                ),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name;
                    (
                        self.fragment(&name.node, name.pos, introspection)?,
                        &spread.node.directives,
                    )
                }
            };
            total.depth = total.depth.max(inner.depth);
            total.introspection_depth = total.introspection_depth.max(inner.introspection_depth);
            total.nested_lists = total.nested_lists.max(inner.nested_lists);
            total.aliases = total.aliases.saturating_add(inner.aliases);
            total.root_fields = total.root_fields.saturating_add(inner.root_fields);
            total.fields = total.fields.saturating_add(inner.fields);
            total.directives = total
                .directives
                .saturating_add(inner.directives)
                .saturating_add(directives.len());
        }
        Ok(total)
    }

    fn fragment(
        &mut self,
        name: &'a Name,
        position: Pos,
        introspection: bool,
    ) -> Result<Size, ServerError> {
        let key = (name.as_str(), introspection);
        match self.fragments.get(&key) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => {
                let message = format!("Fragment \"{name}\" spreads itself");
                return Err(coded(codes::VALIDATION_FAILED, message, Some(position)));
            }
            None => {}
        }
        // An unknown fragment is for the schema's validation to report.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Size::default());
        };
        self.fragments.insert(key, None);
        let fragment: &'a FragmentDefinition = &fragment.node;
        let mut size = self.selections(&fragment.selection_set.node, introspection)?;
        size.directives = size.directives.saturating_add(fragment.directives.len());
        self.fragments.insert(key, Some(size));
        Ok(size)
    }
}
