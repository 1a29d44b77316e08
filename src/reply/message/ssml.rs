//! Speech markup, as the words that it says.

/// What `ssml` says; nothing where it only has tags.
pub(super) fn words(ssml: &str) -> String {
    let mut said = String::with_capacity(ssml.len());
    let mut rest = ssml;
    while let Some((text, tag)) = rest.split_once('<') {
        said += text;
        let (tag, after) = tag.split_once('>').unwrap_or((tag, ""));
        let name = tag.trim_matches('/').split_whitespace().next();
        if let Some("break" | "p" | "s" | "audio" | "seq" | "par" | "media") = name {
            said.push(' ');
        }
        rest = after;
    }
    said += rest;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // The ampersand last: what it brings forth is no entity.
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .into_iter()
        .fold(said, |said, (entity, character)| said.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::words;

    #[rstest]
    #[case("<speak>Hello, <emphasis level=\"strong\">you</emphasis>!</speak>", "Hello, you!")]
    #[case("<speak><p>One</p><p>two<break time=\"1s\"/>three</p></speak>", "One two three")]
    #[case("Salt &amp; pepper &lt;3 &amp;lt;", "Salt & pepper <3 &lt;")]
    #[case("<speak/>", "")]
    #[case("a < b", "a")]
    fn tags_are_not_said(#[case] ssml: &str, #[case] said: &str) {
        assert_eq!(words(ssml), said);
    }
}
