//! One request over plain HTTP, of which the status is read and no more.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::ProbeFailure;

/// The most that is read of an answer.
const MOST: usize = 8 * 1024;

/// How long the rest of an answer is waited for, so that whoever writes it is not told that
/// nobody wants it.
const REST: Duration = Duration::from_millis(100);

/// Asks for a path; the status code of the answer.
pub(super) async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    port: u16,
    path: &str,
) -> Result<u16, ProbeFailure> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: apptainer-rs\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let written = stream.write_all(request.as_bytes()).await;
    written.map_err(ProbeFailure::io("ask"))?;
    let mut answer = Vec::new();
    let mut limited = stream.take(MOST as u64);
    loop {
        let read = limited.read_buf(&mut answer).await;
        let read = read.map_err(ProbeFailure::io("read the answer"))?;
        match status(&answer) {
            Some(Ok(code)) => {
                let mut nobody = tokio::io::sink();
                let rest = tokio::io::copy(&mut limited, &mut nobody);
                let _ = tokio::time::timeout(REST, rest).await;
                return Ok(code);
            }
            None if read > 0 => {}
            None | Some(Err(Malformed)) => return Err(not_http(&answer)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// The status code in the beginning of an answer; `None` where more of that is needed.
///
/// Those below 200 are of answers that come before the one asked for (RFC 9110, section 15.2).
fn status(mut answer: &[u8]) -> Option<Result<u16, Malformed>> {
    loop {
        let line = answer.iter().position(|byte| *byte == b'\n')?;
        match parse(&answer[..line]) {
            Some(100..=199) => {
                let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
                answer = &answer[end + 4..];
            }
            code => return Some(code.ok_or(Malformed)),
        }
    }
}

/// `HTTP/1.1 200 OK`: RFC 9112, section 4.
fn parse(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line.get(..13.min(line.len()))?).ok()?;
    let mut words = line.strip_prefix("HTTP/1.")?.split(' ');
    let (minor, code) = (words.next()?, words.next()?);
    let is_digits =
        |word: &str, count| word.len() == count && word.bytes().all(|c| c.is_ascii_digit());
    (is_digits(minor, 1) && is_digits(code, 3)).then(|| code.parse().ok())?
}

fn not_http(answer: &[u8]) -> ProbeFailure {
    let start = &answer[..answer.len().min(60)];
    ProbeFailure::NotHttp {
        start: String::from_utf8_lossy(start).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    #[test]
    fn status_lines_are_read() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nServer: x\r\n", Some(Ok(200))),
            ("HTTP/1.0 404 Not Found\n", Some(Ok(404))),
            ("HTTP/1.1 204\r\n", Some(Ok(204))),
            ("HTTP/1.1 503 \r\n", Some(Ok(503))),
            ("HTTP/1.1 200 Sch\u{f6}n\r\n", Some(Ok(200))),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 500 E\r\n",
                Some(Ok(500)),
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n", None),
            ("", None),
            ("HTTP/1.1 200 OK", None),
            ("\r\n", Some(Err(Malformed))),
            ("SSH-2.0-OpenSSH_9.2\r\n", Some(Err(Malformed))),
            ("HTTP/2 200\r\n", Some(Err(Malformed))),
            ("HTTP/1.1 20 OK\r\n", Some(Err(Malformed))),
            ("HTTP/1.1 2000\r\n", Some(Err(Malformed))),
            ("HTTP/1.1 +20 OK\r\n", Some(Err(Malformed))),
            ("HTTP/1.1  200 OK\r\n", Some(Err(Malformed))),
            ("HTTP/1.\r\n", Some(Err(Malformed))),
            ("HTTP/1.1 20\u{e9}\r\n", Some(Err(Malformed))),
        ] {
            assert_eq!(status(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    /// What is made of this answer, after which the other end closes or not.
    async fn answered(answer: &[u8]) -> (Result<u16, ProbeFailure>, String) {
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let result = get(here, 80, "/a?b=c").await;
        let mut request = String::new();
        there.read_to_string(&mut request).await.unwrap();
        (result, request)
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_is_made_and_answered() {
        let (result, request) = answered(b"HTTP/1.1 302 Found\r\n\r\n").await;
        assert_eq!(result.unwrap(), 302);
        assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\nHost: localhost:80\r\n"));
        assert!(request.ends_with("Connection: close\r\n\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_answer_is_told_by_its_beginning() {
        for answer in ["", "HTTP/1.1 200 OK", "hello\n", "HTTP/1.1 100 C\r\n\r\n"] {
            let failure = answered(answer.as_bytes()).await.0.unwrap_err();
            assert!(
                matches!(&failure, ProbeFailure::NotHttp { start } if start == answer),
                "{failure:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_line_is_given_up() {
        let (here, mut there) = tokio::io::duplex(512);
        let writer = tokio::spawn(async move {
            let mut written = 0_usize;
            while there.write_all(&[b'x'; 512]).await.is_ok() {
                written += 512;
            }
            written
        });
        let failure = get(here, 80, "/").await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::NotHttp { start } if start.len() == 60));
        assert!(writer.await.unwrap() < 2 * MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_is_not_waited_for() {
        let (here, mut there): (DuplexStream, DuplexStream) = tokio::io::duplex(512);
        there.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // It stays open and says no more.
        assert_eq!(get(here, 80, "/").await.unwrap(), 200);
        drop(there);
    }
}
