//! Reads `/stats` from a server: one GET over a connection of its own.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::reading::Reading;

/// How long the server may take to answer: the page is put together in milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer: some ten times what a server with as many cores as there may be says.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Headers of an answer; the admin listener sends three.
const HEADERS_MAX: usize = 32;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(
        "no server answers at {address}: {source}; name its admin address with --admin (it prints `listening admin …`)"
    )]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error(
        "what answers at {address} is no admin listener of Switchyard: {reason}; name another address with --admin"
    )]
    Stranger { address: SocketAddr, reason: String },
}

/// The server's figures now.
pub(super) fn stats(address: SocketAddr) -> Result<Reading, FetchError> {
    let answer = get(address, "/stats").map_err(|source| FetchError::Unreachable { address, source })?;
    let body = body_of(&answer).map_err(|reason| FetchError::Stranger { address, reason })?;
    Reading::parse(Instant::now(), body).map_err(|reason| FetchError::Stranger { address, reason: reason.to_string() })
}

fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of a whole answer with status 200.
fn body_of(answer: &[u8]) -> Result<&[u8], String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let begin = match response.parse(answer) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) => return Err("its answer ends in the middle".to_owned()),
        Err(error) => return Err(format!("its answer is not HTTP ({error})")),
    };
    if response.code != Some(200) {
        return Err(format!("it answers {}", response.code.unwrap_or_default()));
    }
    let body = &answer[begin..];
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let told = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    if told == Some(body.len()) { Ok(body) } else { Err("its answer ends in the middle".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expect: Result<&str, &str>) {
        match (body_of(answer.as_bytes()), expect) {
            (Ok(body), Ok(expect)) => assert_eq!(body, expect.as_bytes()),
            (Err(reason), Err(expect)) => assert!(reason.contains(expect), "{reason}"),
            (got, _) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn given_answers_then_only_a_whole_one_with_status_200_is_taken() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Ok("{}"));
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", Err("in the middle"));
        check("HTTP/1.1 200 OK\r\n\r\n{}", Err("in the middle"));
        check("HTTP/1.1 200 OK\r\ncontent-le", Err("in the middle"));
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Err("404"));
        check("SSH-2.0-OpenSSH_9.2\r\n", Err("not HTTP"));
        check("", Err("in the middle"));
    }
}
