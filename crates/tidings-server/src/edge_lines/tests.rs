use proptest::prelude::*;

use super::*;

fn line(kind: EdgeKind, source: &str, target: &str, at: Option<i64>) -> EdgeLine {
    EdgeLine {
        kind,
        source: UserId::new(source).unwrap(),
        target: UserId::new(target).unwrap(),
        at: at.map(Timestamp::from_millis),
    }
}

fn read(format: LineFormat, lines: &[&str]) -> Result<Vec<EdgeLine>, EdgeLineError> {
    let mut reader = EdgeLines::new(format);
    let mut edges = Vec::new();
    for line in lines {
        edges.extend(reader.read(line.as_bytes())?);
    }
    Ok(edges)
}

#[test]
fn json_names_one_pair() {
    let lines = [
        r#"{"follower":"a","followee":"b","at":"1970-01-01T00:00:00.005Z"}"#,
        r#"{"blocked":"b","blocker":"a"}"#,
        r#"{"muter":"a","muted":"b","note":1}"#,
        r#"{"next":"x1"}"#,
    ];
    let expected = [
        line(EdgeKind::Follow, "a", "b", Some(5)),
        line(EdgeKind::Block, "a", "b", None),
        line(EdgeKind::Mute, "a", "b", None),
    ];
    assert_eq!(read(LineFormat::Json, &lines).unwrap(), expected);
    for bad in [
        "{}",
        r#"{"follower":"a"}"#,
        r#"{"follower":"a","blocked":"b"}"#,
        r#"{"follower":"a","followee":"b","muter":"c","muted":"d"}"#,
        r#"{"follower":"a","next":"x"}"#,
    ] {
        let error = read(LineFormat::Json, &[bad]).unwrap_err();
        assert!(matches!(error, EdgeLineError::NoPair), "{bad}: {error}");
    }
    for bad in
        ["[]", r#"{"follower":"","followee":"b"}"#, r#"{"follower":"a","followee":"b","at":1}"#]
    {
        let error = read(LineFormat::Json, &[bad]).unwrap_err();
        assert!(matches!(error, EdgeLineError::Json(_)), "{bad}: {error}");
    }
}

#[test]
fn csv_goes_by_its_names_and_knows_quotes() {
    let lines = [
        "\u{feff}at, followee ,note,follower",
        "1970-01-01T00:00:01Z,b,,a",
        r#","b ""x"", y",n,"a""#,
    ];
    let expected = [
        line(EdgeKind::Follow, "a", "b", Some(1_000)),
        line(EdgeKind::Follow, "a", "b \"x\", y", None),
    ];
    assert_eq!(read(LineFormat::Csv, &lines).unwrap(), expected);
    let cases: [(&[&str], &str); 6] = [
        (&["a,b"], "the first line has to name"),
        (&["follower,followee", "a"], "has 1 fields, the first line 2"),
        (&["follower,followee", "\"a,b"], "has a quote"),
        (&["follower,followee", "\"a\"x,b"], "has a quote"),
        (&["follower,followee", ",b"], "follower: "),
        (&["follower,followee,at", "a,b,noon"], "at: "),
    ];
    for (lines, expected) in cases {
        let error = read(LineFormat::Csv, lines).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{lines:?}: {error}");
    }
}

#[test]
fn a_list_has_comments_and_two_words() {
    let lines = ["# Nodes: 2", "1\t2", "  2   é ", "", " \t# more"];
    let expected = [line(EdgeKind::Follow, "1", "2", None), line(EdgeKind::Follow, "2", "é", None)];
    assert_eq!(read(LineFormat::List, &lines).unwrap(), expected);
    let error = read(LineFormat::List, &["1 2 3"]).unwrap_err();
    assert!(matches!(error, EdgeLineError::Words(3)), "{error}");
    let mut reader = EdgeLines::new(LineFormat::List);
    assert!(matches!(reader.read(b"\xff 1"), Err(EdgeLineError::NotText(_))));
}

#[test]
fn a_timed_list_has_an_integer_perhaps() {
    let lines = ["# from to at", "1 2 1700000000", "1\t3"];
    let expected = [
        line(EdgeKind::Follow, "1", "2", Some(1_700_000_000)),
        line(EdgeKind::Follow, "1", "3", None),
    ];
    assert_eq!(read(LineFormat::TimedList, &lines).unwrap(), expected);
    for (bad, expected) in [
        ("1", "has 1 words where an edge has two, and a time perhaps"),
        ("1 2 3 4", "has 4 words"),
        ("1 2 noon", "\"noon\" is not a time"),
        ("1 2 -1", "\"-1\" is not a time"),
        ("1 2 999999999999999999", "\"999999999999999999\" is not a time"),
    ] {
        let error = read(LineFormat::TimedList, &[bad]).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in "\\PC{1,20}", target in "[\"\\\\,\u{1f980}a-z]{1,20}", at in 0i64..4_000_000_000_000,
        kind in prop::sample::select(&[EdgeKind::Follow, EdgeKind::Block, EdgeKind::Mute][..]),
    ) {
        prop_assume!(UserId::new(&source).is_ok() && UserId::new(&target).is_ok());
        let edge = line(kind, &source, &target, Some(at));
        let mut text = Vec::new();
        write_json(&edge, &mut text);
        prop_assert_eq!(text.pop(), Some(b'\n'));
        let read = EdgeLines::new(LineFormat::Json).read(&text).unwrap();
        prop_assert_eq!(read, Some(edge));
    }
}
