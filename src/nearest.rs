//! The name that somebody may have meant.

/// From here on, of 1 for the same name, two names are alike.
const ALIKE: f64 = 0.7;

/// The known name that is most like the one that was found, upper or lower case; none where no name is like it.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&found, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// ` (did you mean order.shipped?)`, or nothing where no name is like it: to stand at the end of an error.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, known).map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn name_that_is_nearly_a_known_one_is_told() {
        let known = ["order.shipped", "order.delivered", "payment.failed"];
        assert_eq!(did_you_mean("order.shiped", known), " (did you mean order.shipped?)");
        assert_eq!(did_you_mean("parcel", known), "");
        assert_eq!(did_you_mean("order.shiped", []), "");
    }
}
