//! Files on a web server, read by range.
//!
//! The server is believed nothing: who reads checks hashes. What can be told at once is told at
//! once, with its reason: a server that ignores ranges, sends another one, or redirects.

use super::lacking;
use crate::exit::{Lacking, Misused};
use anyhow::{Result, bail};
use futures_util::TryStreamExt as _;
use http_link::{Client, Connector, Error, Response};
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Runtime;

/// Tries in a row that bring no byte.
const TRIES: u32 = 3;

/// A file, or where one can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// On this machine.
    File(PathBuf),
    /// `https://…`, or `http://…` on this machine.
    Url(String),
}

impl From<OsString> for Input {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
                Self::Url(url.to_owned())
            }
            _ => Self::File(text.into()),
        }
    }
}

/// A file on a server.
pub(super) struct Remote {
    pub(super) url: String,
    client: Client,
    /// Path and query.
    path: String,
    /// One request at a time: what is slow is the network.
    runtime: Mutex<Runtime>,
}

/// Why a part of a file did not come whole.
enum Failure {
    /// Worth another try.
    Broken(Error),
    /// The server answers something else than it was asked for, or who reads refuses.
    Refused(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Connect { .. } | Error::Timeout { .. } | Error::Broken { .. } => {
                Self::Broken(error)
            }
            other => Self::Refused(other.into()),
        }
    }
}

impl Remote {
    /// The file at `url`. Only the authorities in the file `ca` may vouch for the server.
    pub(super) fn new(url: &str, ca: Option<&Path>) -> Result<Self> {
        let host = url.find("://").map_or(0, |at| at + 3);
        let slash = url[host..].find('/').map(|at| host + at);
        let Some(slash) = slash else {
            return Err(Misused(format!("{url} names a server, not a file")).into());
        };
        let (base, path) = url.split_at(slash);
        let client = match (base.starts_with("http://"), ca) {
            (true, _) => Client::new(base, &[], Connector::Loopback),
            (false, Some(ca)) => {
                let pem = std::fs::read(ca).map_err(|error| lacking(ca, &error))?;
                Client::new(base, &pem, Connector::Tcp)
            }
            (false, None) => {
                let missing = "--ca is missing: which authorities may vouch for the server?";
                return Err(Misused(missing.to_owned()).into());
            }
        };
        let client = client.map_err(|error| Misused(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (url, path, runtime) = (url.to_owned(), path.to_owned(), Mutex::new(runtime));
        Ok(Self { url, client, path, runtime })
    }

    /// All of a file of at most `limit` bytes.
    pub(super) fn whole(&self, limit: usize) -> Result<Vec<u8>> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let read = async {
            let answer = self.client.get(&self.path).send_any().await?;
            self.require(&answer, 200)?;
            Ok(answer.bytes(limit).await?)
        };
        runtime.block_on(read).map_err(|failure| self.give_up(failure))
    }

    /// Shows the bytes of `range`, of a file of `size` bytes, piece by piece. A connection that
    /// breaks is continued where it broke.
    pub(super) fn pieces(
        &self,
        range: Range<u64>,
        size: u64,
        mut see: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut tries) = (range.start, 0);
        while at < range.end {
            let before = at;
            let part = self.part(at..range.end, size, &mut at, &mut see);
            let ended = runtime.block_on(part);
            tries = if at > before { 0 } else { tries + 1 };
            match ended {
                Ok(()) if tries < TRIES => {}
                Ok(()) => bail!("{} sends no byte of what it was asked for", self.url),
                Err(Failure::Broken(_)) if tries < TRIES => {}
                Err(failure) => return Err(self.give_up(failure)),
            }
        }
        Ok(())
    }

    /// One request for `range`; `at` moves with every byte that came.
    async fn part(
        &self,
        range: Range<u64>,
        size: u64,
        at: &mut u64,
        see: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<(), Failure> {
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        let answer = self.client.get(&self.path).header("range", &wanted).send_any().await?;
        self.require(&answer, 206)?;
        let said = answer.header(&http::header::CONTENT_RANGE).unwrap_or_default();
        let end = sent_until(said, &range, size).map_err(|why| self.lie(&why))?;
        let mut pieces = answer.stream();
        while let Some(piece) = pieces.try_next().await? {
            let length = piece.len() as u64;
            if length > end - *at {
                return Err(self.lie("it sends more bytes than it says").into());
            }
            see(&piece)?;
            *at += length;
        }
        Ok(())
    }

    /// Refuses answers of another status, and bodies in another form than the file has.
    fn require(&self, answer: &Response, due: u16) -> Result<(), Failure> {
        let status = answer.status();
        let header = |name| answer.header(name).unwrap_or("nothing");
        let encoding = answer.header(&http::header::CONTENT_ENCODING).unwrap_or("identity");
        let why = match status.as_u16() {
            have if have == due && encoding == "identity" => return Ok(()),
            have if have == due => format!("it sends the file in another form ({encoding})"),
            200 => "it ignores which range it was asked for".to_owned(),
            300..400 => {
                format!("it redirects to {}: give that address", header(&http::header::LOCATION))
            }
            416 => "the file there is shorter than its index says".to_owned(),
            404 | 410 | 429 | 500.. => {
                let lacking = Lacking(format!("{}: the server says {status}", self.url));
                return Err(Failure::Refused(lacking.into()));
            }
            _ => format!("it says {status}"),
        };
        Err(self.lie(&why).into())
    }

    fn lie(&self, why: &str) -> anyhow::Error {
        anyhow::anyhow!("{}: the server cannot be used: {why}", self.url)
    }

    fn give_up(&self, failure: Failure) -> anyhow::Error {
        match failure {
            Failure::Broken(error) => {
                let again = "the same command goes on where it was";
                Lacking(format!("{}: {error}; {again}", self.url)).into()
            }
            Failure::Refused(error) => error,
        }
    }
}

/// Where the part ends that `Content-Range` announces (RFC 9110, 14.4): it begins where it shall
/// and is no longer than asked for; the whole file is of the right size.
fn sent_until(said: &str, due: &Range<u64>, size: u64) -> Result<u64, String> {
    let wrong = || format!("it sends another range than {}-{}: {said:?}", due.start, due.end - 1);
    let (range, whole) =
        said.strip_prefix("bytes ").and_then(|it| it.split_once('/')).ok_or_else(wrong)?;
    let (first, last) = range.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let end = number(last)?.checked_add(1).ok_or_else(wrong)?;
    if number(first)? != due.start || end <= due.start || end > due.end {
        return Err(wrong());
    }
    if whole != "*" && number(whole)? != size {
        return Err(format!("the file there has {whole} bytes, not {size} as its index says"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_another_range_is_refused() {
        assert_eq!(sent_until("bytes 10-19/100", &(10..20), 100), Ok(20));
        assert_eq!(sent_until("bytes 10-14/100", &(10..20), 100), Ok(15));
        assert_eq!(sent_until("bytes 10-19/*", &(10..20), 100), Ok(20));
        for said in [
            "",
            "bytes */100",
            "bytes 9-19/100",
            "bytes 10-20/100",
            "bytes 10-9/100",
            "bytes 10-19/101",
            "bytes 10-18446744073709551615/100",
            "bytes x-19/100",
            "items 10-19/100",
        ] {
            assert!(sent_until(said, &(10..20), 100).is_err(), "{said}");
        }
    }

    #[test]
    fn a_url_is_told_from_a_file() {
        let of = |text: &str| Input::from(OsString::from(text));
        assert_eq!(of("https://a/b.zip"), Input::Url("https://a/b.zip".into()));
        assert_eq!(of("./https/b.zip"), Input::File("./https/b.zip".into()));
    }
}
