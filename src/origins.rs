//! Web pages that may read what they are not the origin of, and what a browser is told of that (CORS, of the Fetch standard).

use std::str::FromStr;

use url::{Origin, Url};

/// The origins of the pages that are let read; the default is none.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Whether pages of this origin, as a browser writes it, are listed.
    pub(crate) fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|listed| listed == origin)
    }
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(origin).collect::<Result<_, _>>().map(Self)
    }
}

/// An origin as browsers write it: in lower case, without the port that its scheme has anyway, and without a slash at its end.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || format!("found {text:?}, expected an origin: https://shop.example.com, http://localhost:3000");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_nobodys = url.username().is_empty() && url.password().is_none();
    match url.origin() {
        origin @ Origin::Tuple(..) if is_bare && is_nobodys && matches!(url.scheme(), "http" | "https") => {
            Ok(origin.ascii_serialization())
        }
        Origin::Tuple(..) | Origin::Opaque(_) => Err(wrong()),
    }
}

/// Whether an origin is that of the host which a request is sent to, whatever its scheme: a proxy before the service may have
/// taken TLS off.
pub(crate) fn is_of_host(origin: &str, host: &str) -> bool {
    let Some((scheme, _)) = origin.split_once("://") else {
        return false;
    };
    let own = Url::parse(&format!("{scheme}://{host}"));
    own.is_ok_and(|own| own.origin().ascii_serialization() == origin)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://shop.example.com", "https://shop.example.com")]
    #[case("HTTPS://Shop.example.com:443/", "https://shop.example.com")]
    #[case("http://localhost:3000, https://b.example", "https://b.example")]
    fn origins_are_known_as_browsers_write_them(#[case] setting: &str, #[case] origin: &str) {
        let origins: Origins = setting.parse().unwrap();
        assert!(origins.contains(origin));
        assert!(!origins.contains("null") && !origins.contains("https://example.com"));
    }

    #[rstest]
    #[case("*")]
    #[case("null")]
    #[case("shop.example.com")]
    #[case("https://shop.example.com/chat")]
    #[case("https://ada@shop.example.com")]
    #[case("file:///")]
    fn what_is_no_origin_is_refused(#[case] setting: &str) {
        let wrong = setting.parse::<Origins>().unwrap_err();
        assert!(
            wrong.contains(setting) && wrong.contains("expected an origin"),
            "{wrong}"
        );
    }

    #[rstest]
    #[case("http://127.0.0.1:8080", "127.0.0.1:8080", true)]
    #[case("https://bot.example", "bot.example:443", true)]
    #[case("http://127.0.0.1:8081", "127.0.0.1:8080", false)]
    #[case("https://bot.example.evil", "bot.example", false)]
    #[case("null", "bot.example", false)]
    fn own_pages_are_told_by_the_host(#[case] origin: &str, #[case] host: &str, #[case] is_own: bool) {
        assert_eq!(is_of_host(origin, host), is_own);
    }
}
