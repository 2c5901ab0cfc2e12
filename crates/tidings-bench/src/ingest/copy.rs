//! Rows in the format of `COPY … WITH BINARY`.
//!
//! <https://www.postgresql.org/docs/15/sql-copy.html>, "Binary Format".

use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Client;

/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The length of a value that is null, and the field count of the trailer.
const NONE: i32 = -1;

/// Rows of one table.
pub(super) struct CopyRows {
    bytes: BytesMut,
    columns: i16,
}

impl CopyRows {
    pub(super) fn new(columns: i16, rows: usize, bytes_per_row: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER.len() + rows * bytes_per_row);
        bytes.put_slice(HEADER);
        Self { bytes, columns }
    }

    /// Begins a row; its columns follow.
    pub(super) fn row(&mut self) -> &mut Self {
        self.bytes.put_i16(self.columns);
        self
    }

    pub(super) fn int8(&mut self, value: i64) -> &mut Self {
        self.bytes.put_i32(8);
        self.bytes.put_i64(value);
        self
    }

    /// Text, or any other type that is sent as its bytes. Far below 2 GiB.
    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.bytes.put_slice(value);
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.bytes.put_i32(NONE);
        self
    }

    fn finish(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }

    /// Sends the rows; `copy` is the statement, for example `COPY event FROM STDIN WITH BINARY`.
    pub(super) async fn send(self, client: &Client, copy: &str) -> anyhow::Result<()> {
        let mut sink = pin!(client.copy_in::<_, Bytes>(copy).await?);
        sink.send(self.finish()).await?;
        sink.as_mut().finish().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_count_and_lengths_before_values() {
        let mut rows = CopyRows::new(3, 1, 16);
        rows.row().int8(7).null().bytes(b"ab");
        let bytes = rows.finish();
        let expected = [
            &[0, 3][..],
            &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7],
            &[255, 255, 255, 255],
            &[0, 0, 0, 2, b'a', b'b'],
            &[255, 255],
        ];
        assert_eq!(bytes[..HEADER.len()], *HEADER);
        assert_eq!(bytes[HEADER.len()..], expected.concat());
    }
}
