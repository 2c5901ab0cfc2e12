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

    /// Sends `body` and returns the status of the answer, which has a `content-length`.
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
            if let Some((status, body_at, body_bytes)) = head(&self.answer)? {
                while self.answer.len() < body_at + body_bytes {
                    let read = self.stream.read_buf(&mut self.answer).await?;
                    ensure!(read > 0, "the connection was closed");
                }
                self.answer.drain(..body_at);
                return Ok(status);
            }
        }
    }
}

/// Status, where the body begins, and how long it is, once the head is complete.
fn head(answer: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a content-length")?;
    Ok(Some((status.parse()?, end + 4, length.1.trim().parse()?)))
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn a_head_tells_status_and_length_of_the_body() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(head(answer).unwrap(), Some((202, 44, 2)));
        assert_eq!(head(&answer[..43]).unwrap(), None);
    }
}
