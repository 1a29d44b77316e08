//! The language a user speaks, and texts chosen by it.

/// A turn's language, a BCP 47 tag as the platform wrote it (`en`, `de-AT`, `pt-br`).
///
/// ```
/// use rejoinder::Lang;
///
/// let lang = Lang::new("de-AT");
/// assert!(lang.is("de"));
/// assert_eq!(lang.pick([("en", "Hello"), ("de", "Guten Tag")]), "Guten Tag");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lang(String);

impl Lang {
    /// A language by its tag.
    pub fn new(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    /// The whole tag.
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// Whether the language is `primary` (`de`), in whatever region.
    pub fn is(&self, primary: &str) -> bool {
        self.0
            .split(['-', '_'])
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case(primary))
    }

    /// The text of this language, or the first where it is none of them.
    pub fn pick<T, const N: usize>(&self, texts: [(&str, T); N]) -> T {
        const { assert!(N > 0, "there must be a text to fall back to") };
        let at = texts.iter().position(|(primary, _)| self.is(primary)).unwrap_or(0);
        let mut texts = texts.into_iter();
        match texts.nth(at) {
            Some((_, text)) => text,
            None => unreachable!("the position was found in this array"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_case_do_not_matter_and_the_first_is_the_default() {
        let texts = [("en", "hello"), ("de", "hallo")];
        assert_eq!(Lang::new("de-AT").pick(texts), "hallo");
        assert_eq!(Lang::new("DE").pick(texts), "hallo");
        assert_eq!(Lang::new("fr").pick(texts), "hello");
    }
}
