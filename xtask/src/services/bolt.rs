//! Just enough Bolt 4.4 to run `RETURN 1`: the only way to know that Neo4j serves Cypher where the
//! tests will ask for it. <https://neo4j.com/docs/bolt/current/>

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::endpoints::{NEO4J_PASSWORD, NEO4J_USER};

const VERSION_4_4: [u8; 4] = [0, 0, 4, 4];
const SUCCESS: u8 = 0x70;
const RECORD: u8 = 0x71;

/// Logs in and runs the query.
pub(crate) fn return_one(mut stream: TcpStream) -> Result<()> {
    // The first query of a new server compiles for a while.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut handshake = vec![0x60, 0x60, 0xB0, 0x17];
    handshake.extend_from_slice(&VERSION_4_4);
    handshake.extend_from_slice(&[0; 12]);
    stream.write_all(&handshake)?;
    let mut chosen = [0; 4];
    stream.read_exact(&mut chosen)?;
    ensure!(chosen == VERSION_4_4, "the server chose Bolt {chosen:?}");

    send(&mut stream, &hello())?;
    expect(&read_message(&mut stream)?, SUCCESS)?;
    send(&mut stream, &run("RETURN 1"))?;
    // PULL {n: -1}
    send(&mut stream, &[0xB1, 0x3F, 0xA1, 0x81, b'n', 0xFF])?;
    expect(&read_message(&mut stream)?, SUCCESS)?;
    let record = read_message(&mut stream)?;
    expect(&record, RECORD)?;
    ensure!(record[2..] == [0x91, 1], "RETURN 1 returned something else");
    expect(&read_message(&mut stream)?, SUCCESS)
}

fn hello() -> Vec<u8> {
    let fields = [
        ("user_agent", "tidings-xtask/1"),
        ("scheme", "basic"),
        ("principal", NEO4J_USER),
        ("credentials", NEO4J_PASSWORD),
    ];
    let mut message = vec![0xB1, 0x01, 0xA4];
    for (key, value) in fields {
        put_text(&mut message, key);
        put_text(&mut message, value);
    }
    message
}

fn run(query: &str) -> Vec<u8> {
    let mut message = vec![0xB3, 0x10];
    put_text(&mut message, query);
    message.extend_from_slice(&[0xA0, 0xA0]); // no parameters, no options
    message
}

/// A text of at most 255 bytes; ours are constants, all shorter.
fn put_text(message: &mut Vec<u8>, text: &str) {
    message.push(0xD0);
    message.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(text.as_bytes());
}

/// Sends a message as one chunk: a length, the bytes, and an empty chunk that ends the message.
fn send(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    let mut chunk = u16::try_from(message.len())?.to_be_bytes().to_vec();
    chunk.extend_from_slice(message);
    chunk.extend_from_slice(&[0, 0]);
    stream.write_all(&chunk)?;
    Ok(())
}

fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let length = u16::from_be_bytes(length);
        // An empty chunk ends a message; before one it only keeps the connection alive.
        match (length, message.is_empty()) {
            (0, true) => {}
            (0, false) => return Ok(message),
            _ => {
                let mut chunk = vec![0; length.into()];
                stream.read_exact(&mut chunk)?;
                message.append(&mut chunk);
            }
        }
    }
}

fn expect(message: &[u8], tag: u8) -> Result<()> {
    if message.get(1) == Some(&tag) {
        return Ok(());
    }
    let said: String =
        String::from_utf8_lossy(message).chars().filter(|c| !c.is_control()).collect();
    bail!("the server said: {said}")
}
