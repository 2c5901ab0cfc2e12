//! RFC 6455, sections 4 to 7, case by case: raw bytes to a node as users run it.
//!
//! A text of a type that the protocol does not know is answered with an `error` that says the type
//! back: that shows how the node understood a frame.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{Node, Site},
    wire::{
        BINARY, CLOSE, PING, PONG, TEXT, Told, UNPACED, Wire, close, frame, hello, request,
        with_length,
    },
};

/// The longest message.
const MAX: usize = 65_536;

/// A name, what a client says, and the code that it is closed with.
type Case = (String, Vec<u8>, u16);

fn case(name: &str, bytes: Vec<u8>, code: u16) -> Case {
    (name.to_owned(), bytes, code)
}

fn framing_cases() -> Vec<Case> {
    let text = br#"{"type":"ping"}"#;
    let mut cases = vec![
        case("a continuation of nothing", frame(0x80, text), 1002),
        case("a first continuation of nothing", frame(0x00, text), 1002),
        case("a text in a text", [frame(0x01, b"{"), frame(TEXT, text)].concat(), 1002),
        case("binary in a text", [frame(0x01, b"{"), frame(BINARY, b"")].concat(), 1002),
        case("a text in binary", [frame(0x02, b"{"), frame(TEXT, text)].concat(), 1002),
        case("a text without a mask", [&[TEXT, 15][..], text].concat(), 1002),
        case("a ping without a mask", vec![PING, 0], 1002),
        case("a close without a mask", vec![CLOSE, 0], 1002),
        case("125 bytes in two bytes", with_length(TEXT, &[0xfe, 0, 125], &[b' '; 125]), 1002),
        case(
            "65535 bytes in eight bytes",
            with_length(TEXT, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], b""),
            1002,
        ),
        case("a length with its highest bit", with_length(TEXT, &[0xff; 9], b""), 1002),
        case("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        case("a pong of 126 bytes", frame(PONG, &[0; 126]), 1002),
        case("a close of 126 bytes", close(1000, &[b'x'; 124]), 1002),
        case("a message of a byte too much", frame(TEXT, &[b' '; MAX + 1]), 1009),
        case("binary of a byte too much", frame(BINARY, &[0; MAX + 1]), 1009),
        case(
            "an endless frame is refused by its head",
            with_length(TEXT, &[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b""),
            1009,
        ),
        case(
            "fragments that are too long together",
            [frame(0x01, &[b' '; MAX]), frame(0x80, b" ")].concat(),
            1009,
        ),
        case(
            "binary fragments that are too long together",
            [frame(0x02, &[0; MAX]), frame(0x80, b" ")].concat(),
            1009,
        ),
    ];
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for first in [TEXT, BINARY, PING, CLOSE] {
            cases.push(case(&format!("bits {bit:x} of {first:x}"), frame(first | bit, b""), 1002));
        }
    }
    for opcode in (3..8).chain(11..16) {
        cases.push(case(&format!("opcode {opcode}"), frame(0x80 | opcode, b""), 1002));
    }
    for first in [CLOSE, PING, PONG] {
        let name = format!("a fragment of {first:x}");
        cases.push(case(&name, frame(first & 0x7f, b""), 1002));
    }
    cases
}

fn close_cases() -> Vec<Case> {
    let mut cases = vec![
        case("a close of one byte", frame(CLOSE, &[3]), 1002),
        case("a reason that is not UTF-8", close(1000, &[0xff]), 1007),
        case("a reason that is cut off", close(1000, &[0xe2, 0x82]), 1007),
    ];
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    cases.extend(codes.map(|code| case(&format!("code {code}"), close(code, b""), 1002)));
    cases
}

fn text_cases() -> Vec<Case> {
    let bad: [(&str, &[u8]); 12] = [
        ("a byte that begins nothing", b"\xff"),
        ("a continuation byte alone", b"\x80"),
        ("two bytes for one", b"\xc0\x80"),
        ("two bytes for one, again", b"\xc1\xbf"),
        ("three bytes for two", b"\xe0\x9f\xbf"),
        ("four bytes for three", b"\xf0\x8f\xbf\xbf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("beyond the last character", b"\xf4\x90\x80\x80"),
        ("a first byte beyond all", b"\xf5\x80\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("a character without its end", b"\xe2\x82("),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in bad {
        let text = [b"\xce\xba\xe1\xbd\xb9", bytes, b"edited"].concat();
        cases.push(case(name, frame(TEXT, &text), 1007));
        // At once: the message does not end, and the frame neither.
        let first = frame(0x01, &text);
        cases.push(case(&format!("{name}, in a fragment"), first, 1007));
        let length = 0x80 | u8::try_from(text.len() + 10).unwrap();
        let cut = with_length(TEXT, &[length], &text);
        cases.push(case(&format!("{name}, in a frame that goes on"), cut, 1007));
    }
    cases.push(case("a character that is cut off by the end", frame(TEXT, b"\xe2\x82"), 1007));
    let split = [frame(0x01, b"\xf0\x9f"), frame(0x00, b"\x90"), frame(0x80, b"")].concat();
    cases.push(case("the same in fragments", split, 1007));
    let split = [frame(0x01, b"\xf4"), frame(0x00, b"\x90")].concat();
    cases.push(case("beyond the last character, over fragments", split, 1007));
    cases
}

#[test]
fn what_breaks_the_rules_is_closed_with_its_code() {
    let site = Site::new("");
    let node = site.start();
    let cases = [framing_cases(), close_cases(), text_cases()].concat();
    for (index, (name, bytes, code)) in cases.into_iter().enumerate() {
        // A user each: this is not about limits.
        let mut wire = Wire::welcome(&node, &format!("u{index}"));
        wire.say(&bytes);
        println!("{name}");
        assert_eq!(wire.hear_close(), Some(code), "{name}");
        // The same before the hello.
        let mut wire = Wire::open(&node);
        wire.say(&bytes);
        assert_eq!(wire.hear_close(), Some(code), "{name}, first");
    }
    let mut after = Wire::welcome(&node, "after");
    after.say(&frame(TEXT, br#"{"type":"ping"}"#));
    assert_eq!(after.hear_json()["type"], "pong");
    node.stop();
}

#[test]
fn a_close_is_answered_with_its_code() {
    let site = Site::new("");
    let node = site.start();
    let valid = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4400, 4999]).enumerate();
    for (index, code) in valid {
        for reason in [&b""[..], "ĥ".repeat(61).as_bytes()] {
            let mut wire = Wire::welcome(&node, &format!("u{index}"));
            // What comes after a close is not looked at.
            wire.say(&[close(code, reason), frame(PING, b"late"), vec![0xff; 8]].concat());
            assert_eq!(wire.hear_close(), Some(code));
        }
    }
    let mut wire = Wire::welcome(&node, "empty");
    wire.say(&frame(CLOSE, b""));
    assert_eq!(wire.hear_close(), None);
    node.stop();
}

/// The type that the node read, said back.
fn echo(wire: &mut Wire, name: &str) {
    let error = wire.hear_json();
    let reason = format!("there is no frame of type {name:?} in tidings.v1");
    assert_eq!(error, json!({"type": "error", "reason": reason}));
}

#[test]
fn messages_may_come_in_any_pieces() {
    let site = Site::new(UNPACED);
    let node = site.start();
    let mut wire = Wire::welcome(&node, "ann");
    let name = "κόσμε 𝄞";
    let text = json!({"type": name}).to_string();
    // A byte a frame, empty frames in between, and a ping in each gap.
    let mut pieces = vec![frame(0x01, b"")];
    for (index, byte) in (0_u8..).zip(text.bytes()) {
        pieces.push(frame(PING, &[index]));
        pieces.push(frame(0x00, &[byte]));
        pieces.push(frame(0x00, b""));
    }
    pieces.push(frame(0x80, b""));
    wire.say(&pieces.concat());
    for (index, _) in (0_u8..).zip(text.bytes()) {
        assert_eq!(wire.hear(), Told::Frame(PONG, vec![index]));
    }
    echo(&mut wire, name);
    // A byte a segment.
    for byte in [frame(PING, b"slow"), frame(TEXT, text.as_bytes())].concat() {
        wire.say(&[byte]);
    }
    assert_eq!(wire.hear(), Told::Frame(PONG, b"slow".to_vec()));
    echo(&mut wire, name);
    // Cut anywhere, into two segments and into two fragments.
    for cut in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        wire.say(&[frame(0x01, first), frame(0x80, second)].concat());
        echo(&mut wire, name);
        let bytes = frame(TEXT, text.as_bytes());
        let (first, second) = bytes.split_at(cut);
        wire.say(first);
        wire.say(second);
        echo(&mut wire, name);
    }
    // Many in one segment.
    wire.say(&frame(TEXT, br#"{"type":"ping"}"#).repeat(500));
    for _ in 0..500 {
        assert_eq!(wire.hear_json()["type"], "pong");
    }
    node.stop();
}

#[test]
fn every_length_is_read_and_answered() {
    let site = Site::new("");
    let node = site.start();
    let mut wire = Wire::welcome(&node, "ann");
    for length in [15, 124, 125, 126, 127, 128, 4_081, 4_096, 8_193, 65_534, 65_535, MAX] {
        let mut text = br#"{"type":"ping"}"#.to_vec();
        text.resize(length, b' ');
        wire.say(&frame(TEXT, &text));
        assert_eq!(wire.hear_json()["type"], "pong", "{length}");
    }
    for length in [0, 1, 124, 125] {
        let payload = vec![0xfe; length];
        wire.say(&[frame(PONG, &payload), frame(PING, &payload)].concat());
        assert_eq!(wire.hear(), Told::Frame(PONG, payload), "{length}");
    }
    // Binary is good WebSocket, and of no use in this protocol.
    wire.say(&[frame(0x02, &[0xff; 9]), frame(0x80, &[0xff; 300])].concat());
    assert_eq!(wire.hear_close(), Some(4400));
    node.stop();
}

#[test]
fn what_is_said_with_the_handshake_is_not_lost() {
    let site = Site::new("");
    let node = site.start();
    let mut wire = Wire::connect(&node);
    let ping = frame(TEXT, br#"{"type":"ping"}"#);
    // Ends in the middle of a frame.
    wire.say(&[format!("{}\r\n", request()).as_bytes(), &hello("ann"), &ping, &ping[..3]].concat());
    let head = wire.hear_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(wire.hear_json()["type"], "welcome");
    assert_eq!(wire.hear_json()["type"], "pong");
    wire.say(&ping[3..]);
    assert_eq!(wire.hear_json()["type"], "pong");
    node.stop();
}

/// The head of the answer to a request, in lower case.
fn answer(node: &Node, request: &str) -> String {
    let mut wire = Wire::connect(node);
    wire.say(format!("{request}\r\n").as_bytes());
    wire.hear_head().to_lowercase()
}

#[test]
fn a_handshake_that_is_not_in_order_is_refused() {
    let site = Site::new("");
    let node = site.start();
    for (from, to, status) in [
        ("GET ", "POST ", 405),
        ("GET ", "HEAD ", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Connection: Upgrade", "Connection: keep-alive", 400),
        ("Upgrade: websocket", "Upgrade: h2c", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "X: y", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: c2hvcnQ=", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: ?", 400),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13", "X: y", 426),
    ] {
        let changed = request().replacen(from, to, 1);
        assert_ne!(changed, request());
        let head = answer(&node, &changed);
        let version = if changed.contains("HTTP/1.0") { "0" } else { "1" };
        assert!(head.starts_with(&format!("http/1.{version} {status} ")), "{to}: {head}");
        assert_eq!(head.contains("sec-websocket-version: 13"), status == 426, "{to}: {head}");
    }
    node.stop();
}

#[test]
fn the_subprotocol_is_chosen_and_extensions_are_declined() {
    let site = Site::new("");
    let node = site.start();
    let offers = request().replace("tidings.v1", "other, tidings.v1")
        + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame\r\n";
    let head = answer(&node, &offers);
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("sec-websocket-protocol: tidings.v1\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    let other = answer(&node, &request().replace("tidings.v1", "tidings.v0"));
    assert!(!other.contains("sec-websocket-protocol"), "{other}");
    // Compressed all the same: the first fragment of a bomb is not even unpacked.
    let mut wire = Wire::welcome(&node, "ann");
    wire.say(&frame(0x41, &[0xec, 0xc0, 0x31]));
    assert_eq!(wire.hear_close(), Some(1002));
    node.stop();
}

#[test]
fn a_close_of_the_node_is_read_also_by_a_client_that_is_still_talking() {
    let site = Site::new("");
    let node = site.start();
    for round in 0..20 {
        let mut wire = Wire::welcome(&node, &format!("u{round}"));
        // More than is read before the close is sent: unread bytes would reset the connection.
        wire.say(&[frame(TEXT, b"nonsense"), frame(PING, &[7; 125]).repeat(1_000)].concat());
        assert_eq!(wire.trickle(&frame(PING, b""), Duration::from_millis(50)), Some(4400));
    }
    node.stop();
}
