//! What a command writes, line by line.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use pin_project::pin_project;

use super::{Chunk, OutputStream, Source};

/// A line that a command wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Where it comes from.
    pub source: Source,
    /// What stands in it: any bytes, without the `\n` or `\r\n` that ended it.
    pub bytes: Bytes,
    /// Whether its end was there. `false` for a piece of a line that is longer than the
    /// [limit](Lines::max_length), unless it is its last, and for what the command wrote last
    /// without ending it.
    pub is_complete: bool,
}

impl Line {
    /// The line as text, in which what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// What a command writes, line by line, as it writes it.
///
/// A [`Stream`] of [`Line`]s, in order within each source. It ends as an [`OutputStream`]
/// does, and holds the command up as that does when it is not read: in memory is at most one
/// unfinished line of each source, up to its [limit](Self::max_length). What an output ends
/// with without ending that line comes when both outputs have ended. Lines that are kept share
/// memory as an [`OutputStream`]'s chunks do.
///
/// ```no_run
/// # async fn example(instance: apptainer::Instance) -> Result<(), Box<dyn std::error::Error>> {
/// use apptainer::Stdio;
///
/// let mut make = instance.command("make");
/// let mut child = make.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().await?;
/// let mut lines = child.lines()?;
/// while let Some(line) = lines.next().await {
///     let line = line?;
///     println!("{:?}: {}", line.source, line.text());
/// }
/// println!("{}", child.wait().await?);
/// # Ok(())
/// # }
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Lines {
    #[pin]
    stream: OutputStream,
    chunk: Option<Chunk>,
    /// Of standard output and standard error.
    unfinished: [BytesMut; 2],
    max_length: usize,
    is_over: bool,
}

/// How long a line may be, unless the caller says.
const MAX_LENGTH: usize = 1024 * 1024;

impl Lines {
    pub(super) fn new(stream: OutputStream) -> Self {
        Self {
            stream,
            chunk: None,
            unfinished: [BytesMut::new(), BytesMut::new()],
            max_length: MAX_LENGTH,
            is_over: false,
        }
    }

    /// How many bytes a line may have before it is given in pieces of that length: 1 MiB
    /// unless this is called. At least one.
    pub fn max_length(mut self, bytes: usize) -> Self {
        self.max_length = bytes.max(1);
        self
    }

    /// The next line; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Line>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Whether it ended although an output was still open: see [`OutputStream::is_cut`].
    pub fn is_cut(&self) -> bool {
        self.stream.is_cut()
    }
}

fn index(source: Source) -> usize {
    match source {
        Source::Stdout => 0,
        Source::Stderr => 1,
    }
}

/// Takes the next line, or piece of one, from what has come; `None` when that is not enough
/// for one, and has been put by. Says whether the line is complete.
pub(crate) fn take_line(
    chunk: &mut Bytes,
    unfinished: &mut BytesMut,
    limit: usize,
) -> Option<(Bytes, bool)> {
    // As much as the line may have, and its end.
    let room = limit.saturating_sub(unfinished.len()).saturating_add(1);
    let within = &chunk[..chunk.len().min(room)];
    let end = within.iter().position(|byte| *byte == b'\n');
    if end.is_none() && chunk.len() < room {
        unfinished.extend_from_slice(chunk);
        chunk.clear();
        return None;
    }
    let mut line = chunk.split_to(end.unwrap_or(room - 1));
    if !unfinished.is_empty() {
        unfinished.extend_from_slice(&line);
        line = unfinished.split().freeze();
    }
    if end.is_some() {
        chunk.advance(1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
    }
    Some((line, end.is_some()))
}

impl Stream for Lines {
    type Item = io::Result<Line>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(Chunk { source, bytes }) = this.chunk {
                let source = *source;
                let unfinished = &mut this.unfinished[index(source)];
                let line = take_line(bytes, unfinished, *this.max_length);
                if bytes.is_empty() {
                    *this.chunk = None;
                }
                if let Some((bytes, is_complete)) = line {
                    return Poll::Ready(Some(Ok(Line {
                        source,
                        bytes,
                        is_complete,
                    })));
                }
                continue;
            }
            if !*this.is_over {
                match ready!(this.stream.as_mut().poll_next(context)) {
                    Some(chunk) => *this.chunk = Some(chunk?),
                    None => *this.is_over = true,
                }
                continue;
            }
            // What nothing has ended.
            let sources = [Source::Stdout, Source::Stderr];
            let mut left = sources.into_iter().zip(this.unfinished.iter_mut());
            let last = left.find(|(_, unfinished)| !unfinished.is_empty());
            return Poll::Ready(last.map(|(source, unfinished)| {
                Ok(Line {
                    source,
                    bytes: unfinished.split().freeze(),
                    is_complete: false,
                })
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of these chunks of one source, and what is left.
    fn lines(chunks: &[&'static str], limit: usize) -> (Vec<(String, bool)>, String) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut unfinished = BytesMut::new();
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut chunk = Bytes::from_static(chunk.as_bytes());
            while !chunk.is_empty() {
                if let Some((line, is_complete)) = take_line(&mut chunk, &mut unfinished, limit) {
                    lines.push((text(&line), is_complete));
                }
            }
        }
        (lines, text(&unfinished))
    }

    fn complete(lines: &[&str]) -> Vec<(String, bool)> {
        let complete = |line: &&str| ((*line).to_owned(), true);
        lines.iter().map(complete).collect()
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        let (found, left) = lines(&["one\ntw", "o", "\n\nthree\nfo", "ur"], 100);
        assert_eq!(found, complete(&["one", "two", "", "three"]));
        assert_eq!(left, "four");
    }

    #[test]
    fn a_carriage_return_belongs_to_the_end_of_a_line_and_nowhere_else() {
        let (found, left) = lines(&["one\r\ntw\ro\r", "\n\r\r\n"], 100);
        assert_eq!(found, complete(&["one", "tw\ro", "\r"]));
        assert_eq!(left, "");
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let (found, left) = lines(&["abcd\nabcdefghi\nab", "cde"], 4);
        let piece = |text: &str| (text.to_owned(), false);
        let expected = [
            complete(&["abcd"]),
            vec![piece("abcd"), piece("efgh")],
            complete(&["i"]),
            vec![piece("abcd")],
        ];
        assert_eq!(found, expected.concat());
        assert_eq!(left, "e");
    }

    #[test]
    fn a_line_may_be_as_long_as_it_likes() {
        let (found, left) = lines(&["on", "e\ntw"], usize::MAX);
        assert_eq!(found, complete(&["one"]));
        assert_eq!(left, "tw");
    }

    #[test]
    fn a_limit_may_be_lowered_within_a_line() {
        let mut unfinished = BytesMut::from("abcdef");
        let mut chunk = Bytes::from_static(b"gh\n");
        let mut take = || take_line(&mut chunk, &mut unfinished, 4).unwrap();
        assert_eq!(take(), (Bytes::from_static(b"abcdef"), false));
        assert_eq!(take(), (Bytes::from_static(b"gh"), true));
    }

    #[test]
    fn nothing_is_lost_however_it_is_cut() {
        let text = "a\r\n\nbc\rdefghijk\nl\r\n\r\nmnopqrstuvwxyz";
        for limit in 1..10 {
            let mut joined = String::new();
            let (found, left) = lines(&[text], limit);
            for (line, is_complete) in found {
                joined += &line;
                joined += if is_complete { "\n" } else { "" };
            }
            joined += &left;
            // But for the ends that were `\r\n`.
            assert_eq!(
                joined.replace("\r\n", "\n"),
                text.replace("\r\n", "\n"),
                "{limit}"
            );
        }
    }
}
