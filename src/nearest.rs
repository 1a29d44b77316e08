//! The name that somebody may have meant.

/// How much of it must be the same, from 0 to 1.
const LIKENESS: f32 = 0.7;

/// The known name that is most like the one that was found; none where no name is like it.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    similar::get_close_matches(found, &known, 1, LIKENESS).first().copied()
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
