//! The variables that an expression reads, as paths with dots.

use super::sandbox::ENVIRONMENT;

/// Variables such as `payload.lines._0.sku`, sorted, without the functions that are always there.
pub(super) fn paths(found: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut paths: Vec<String> = found
        .into_iter()
        .filter(|path| !ENVIRONMENT.globals().any(|(name, _)| name == path))
        .collect();
    paths.sort();
    paths
}

/// The source with `["name"]` written `.name` and `[0]` written `._0`: minijinja lists only variables with dots.
pub(crate) fn with_dots(source: &str) -> String {
    let mut rewritten = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('[') {
        let (before, subscript) = rest.split_at(at);
        rewritten.push_str(before);
        let of_a_variable = rewritten.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ']'));
        match subscript[1..].split_once(']') {
            Some((key, after)) if of_a_variable && is_plain(key) => {
                rewritten.push('.');
                if key.starts_with(|c: char| c.is_ascii_digit()) {
                    rewritten.push('_');
                }
                rewritten.push_str(key.trim_matches(['"', '\'']));
                rest = after;
            }
            _ => {
                rewritten.push('[');
                rest = &subscript[1..];
            }
        }
    }
    rewritten.push_str(rest);
    rewritten
}

/// Whether a subscript is a number or a quoted name of letters, digits, `_` and dots.
fn is_plain(key: &str) -> bool {
    if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let quoted = ['"', '\'']
        .iter()
        .find_map(|&quote| key.strip_prefix(quote)?.strip_suffix(quote));
    quoted.is_some_and(|name| {
        name.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    })
}
