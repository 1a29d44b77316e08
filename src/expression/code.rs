//! Where expressions are in a source, which has text beside them where it is a template's.

/// What a byte of a source is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Text of a template, or a string.
    Text,
    /// The first brace of `{{` or `{%`.
    Opening,
    /// An expression, but for its strings.
    Code,
}

/// What each byte is part of.
pub(super) fn parts(source: &str, is_expression: bool) -> Vec<Part> {
    let bytes = source.as_bytes();
    let mut parts = vec![Part::Text; bytes.len()];
    let (mut at, mut inside, mut quote) = (0, is_expression, None);
    while at < bytes.len() {
        let here = &bytes[at..];
        match (quote, here[0]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, _) if !inside => {
                inside = here.starts_with(b"{{") || here.starts_with(b"{%");
                if inside {
                    parts[at] = Part::Opening;
                }
            }
            (None, _) if !is_expression && (here.starts_with(b"}}") || here.starts_with(b"%}")) => inside = false,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) => parts[at] = Part::Code,
        }
        at += 1;
    }
    parts
}
