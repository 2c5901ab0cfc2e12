//! HTTP/1.1 as a load generator needs it: one connection, one request at a time, little CPU.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that is kept.
pub(crate) struct HttpConnection {
    stream: TcpStream,
    /// Lines of every request, each with its end.
    headers: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl HttpConnection {
    pub(crate) async fn open(address: SocketAddr, headers: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let headers = format!("host: {address}\r\ncontent-type: application/json\r\n{headers}");
        Ok(Self { stream, headers, request: Vec::new(), answer: Vec::new() })
    }

    /// Sends `body` and returns the status of the answer, which has a `content-length` or is chunked.
    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> anyhow::Result<u16> {
        self.request.clear();
        let head = format!(
            "POST {path} HTTP/1.1\r\n{}content-length: {}\r\n\r\n",
            self.headers,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body);
        timeout(TIMEOUT, self.exchange()).await.context("the answer takes too long")?
    }

    /// Asks for `path` and returns the status of the answer, which has a `content-length` or is chunked.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<u16> {
        self.send("GET", path).await
    }

    /// The same with another method and no body. An answer of status 204 has none either.
    pub(crate) async fn send(&mut self, method: &str, path: &str) -> anyhow::Result<u16> {
        self.request.clear();
        let head = format!("{method} {path} HTTP/1.1\r\n{}\r\n", self.headers);
        self.request.extend_from_slice(head.as_bytes());
        timeout(TIMEOUT, self.exchange()).await.context("the answer takes too long")?
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> String {
        String::from_utf8_lossy(&self.answer).into_owned()
    }

    async fn exchange(&mut self) -> anyhow::Result<u16> {
        self.stream.write_all(&self.request).await?;
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the connection was closed");
            let Some((status, body_at, length)) = head(&self.answer)? else { continue };
            let body = loop {
                let body = &self.answer[body_at..];
                let whole = match length {
                    Some(length) => body.get(..length).map(<[u8]>::to_vec),
                    None => unchunked(body)?,
                };
                if let Some(whole) = whole {
                    break whole;
                }
                let read = self.stream.read_buf(&mut self.answer).await?;
                ensure!(read > 0, "the connection was closed");
            };
            self.answer = body;
            return Ok(status);
        }
    }
}

/// Status, where the body begins, and how long it is unless it is chunked, once the head is complete.
fn head(answer: &[u8]) -> anyhow::Result<Option<(u16, usize, Option<usize>)>> {
    let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let (mut length, mut chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let status = status.parse()?;
    if status == 204 {
        length = Some(0);
    }
    ensure!(length.is_some() || chunked, "an answer of unknown length");
    Ok(Some((status, end + 4, length)))
}

/// What the chunks hold, once the last is there. Trailers are not expected.
fn unchunked(mut chunks: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = chunks.windows(2).position(|it| it == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&chunks[..end])?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        let Some(chunk) = chunks.get(end + 2..end + 2 + size + 2) else { return Ok(None) };
        ensure!(chunk.ends_with(b"\r\n"), "a chunk without an end");
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        chunks = &chunks[end + 2 + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::{head, unchunked};

    #[test]
    fn a_head_tells_status_and_length_of_the_body() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(head(answer).unwrap(), Some((202, 44, Some(2))));
        assert_eq!(head(&answer[..43]).unwrap(), None);
    }

    #[test]
    fn chunks_are_joined_when_the_last_has_come() {
        let head_only = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(head(head_only).unwrap(), Some((200, 47, None)));
        let chunks = b"2\r\n{\r\r\n1\r\n}\r\n0\r\n\r\n";
        assert_eq!(unchunked(chunks).unwrap(), Some(b"{\r}".to_vec()));
        assert_eq!(unchunked(&chunks[..chunks.len() - 1]).unwrap(), None);
    }
}
