//! What messages hold. A message of a shard is a header and items, a heartbeat is a header and the
//! numbers of all shards.

use tidings_core::{
    clock::Timestamp,
    ids::{InboxNumber, NotificationId, Seq, UserId},
    inbox::{Mark, Selection},
    ports::SessionHint,
};

use super::{
    codec::{Reader, Unreadable, put_hash, put_number, put_text},
    shard::{SHARDS, ShardIndex, UserHash},
};

/// The first byte of every message. A node ignores what another version says, and asks the store.
const VERSION: u8 = 1;

/// One run of one node: a new one has a number of its own, and counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RunId(pub(super) u64);

/// A message, with its items still to be read.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Shard { from: RunId, shard: ShardIndex, number: u64, items: Items<'a> },
    Heartbeat { from: RunId, last_words: bool, numbers: Box<[u64; SHARDS]> },
}

pub(super) fn put_shard_header(out: &mut Vec<u8>, from: RunId, shard: ShardIndex, number: u64) {
    out.extend_from_slice(&[VERSION, b's']);
    put_hash(out, from.0);
    out.push(shard.get());
    put_number(out, number);
}

pub(super) fn heartbeat(from: RunId, last_words: bool, numbers: &[u64; SHARDS]) -> Vec<u8> {
    let mut out = vec![VERSION, if last_words { b'x' } else { b'h' }];
    put_hash(&mut out, from.0);
    for number in numbers {
        put_number(&mut out, *number);
    }
    out
}

impl<'a> Message<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(Unreadable);
        }
        let kind = reader.byte()?;
        let from = RunId(reader.hash()?);
        match kind {
            b's' => {
                let shard = ShardIndex::new(reader.byte()?).ok_or(Unreadable)?;
                let number = reader.number()?;
                Ok(Self::Shard { from, shard, number, items: Items(reader) })
            }
            b'h' | b'x' => {
                let mut numbers = Box::new([0; SHARDS]);
                for number in numbers.iter_mut() {
                    *number = reader.number()?;
                }
                Ok(Self::Heartbeat { from, last_words: kind == b'x', numbers })
            }
            _ => Err(Unreadable),
        }
    }
}

/// Something to be heard.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// New notifications of one event.
    Notifications {
        created_at: Timestamp,
        tail: &'a str,
        rows: Rows<'a>,
    },
    Hint(UserId, SessionHint),
    /// The user has sessions at the sender now, or no more.
    Attendance {
        user: UserHash,
        online: bool,
    },
    /// The store may hold notifications for the users of the shard that nobody heard of.
    Doubt,
    /// All users of the shard that have sessions at the sender.
    Present(Vec<UserHash>),
}

/// Recipients of one event.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    left: u64,
    reader: Reader<'a>,
}

impl<'a> Rows<'a> {
    pub(super) fn next(&mut self) -> Result<Option<(&'a str, NotificationId)>, Unreadable> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let user = self.reader.text()?;
        Ok(Some((user, read_id(&mut self.reader)?)))
    }
}

/// The items of a message.
#[derive(Debug)]
pub(super) struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, Unreadable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let reader = &mut self.0;
        let item = match reader.byte()? {
            b'n' => {
                let created_at = read_time(reader)?;
                let tail = reader.text()?;
                let (left, body) = (reader.number()?, reader.part()?);
                Item::Notifications { created_at, tail, rows: Rows { left, reader: body } }
            }
            b'k' => {
                let user = read_user(reader)?;
                let mark = read_mark(reader)?;
                let (unread, last_seq) = (reader.number()?, Seq(reader.number()?));
                let selection = read_selection(reader)?;
                Item::Hint(user, SessionHint::Marked { mark, selection, unread, last_seq })
            }
            b'l' => Item::Hint(read_user(reader)?, SessionHint::Look),
            b'r' => {
                let user = read_user(reader)?;
                Item::Hint(user, SessionHint::Revoke { before: read_time(reader)? })
            }
            b'd' => Item::Doubt,
            b'+' => Item::Attendance { user: UserHash(reader.hash()?), online: true },
            b'-' => Item::Attendance { user: UserHash(reader.hash()?), online: false },
            b'p' => {
                let mut users = Vec::new();
                for _ in 0..reader.number()? {
                    users.push(UserHash(reader.hash()?));
                }
                Item::Present(users)
            }
            _ => return Err(Unreadable),
        };
        Ok(Some(item))
    }
}

/// An item of new notifications; `rows` is what [`put_row`] wrote `count` times.
pub(super) fn put_notifications(
    out: &mut Vec<u8>,
    created_at: Timestamp,
    tail: &str,
    (count, rows): (u64, &[u8]),
) {
    out.push(b'n');
    put_time(out, created_at);
    put_text(out, tail);
    put_number(out, count);
    put_number(out, rows.len() as u64);
    out.extend_from_slice(rows);
}

pub(super) fn put_row(out: &mut Vec<u8>, user: &UserId, id: NotificationId) {
    put_text(out, user.as_str());
    put_id(out, id);
}

/// An item with a hint; one of a kind that this version does not know becomes a look.
pub(super) fn put_hint(out: &mut Vec<u8>, user: &UserId, hint: &SessionHint) {
    match hint {
        SessionHint::Marked { mark, selection, unread, last_seq } => {
            out.push(b'k');
            put_text(out, user.as_str());
            out.push(match mark {
                Mark::Seen => b's',
                Mark::Read => b'r',
                Mark::Archived => b'a',
            });
            put_number(out, *unread);
            put_number(out, last_seq.0);
            put_selection(out, selection);
        }
        SessionHint::Revoke { before } => {
            out.push(b'r');
            put_text(out, user.as_str());
            put_time(out, *before);
        }
        _ => {
            out.push(b'l');
            put_text(out, user.as_str());
        }
    }
}

pub(super) fn put_doubt(out: &mut Vec<u8>) {
    out.push(b'd');
}

pub(super) fn put_attendance(out: &mut Vec<u8>, user: UserHash, online: bool) {
    out.push(if online { b'+' } else { b'-' });
    put_hash(out, user.0);
}

pub(super) fn put_present(out: &mut Vec<u8>, users: &[UserHash]) {
    out.push(b'p');
    put_number(out, users.len() as u64);
    for user in users {
        put_hash(out, user.0);
    }
}

fn put_selection(out: &mut Vec<u8>, selection: &Selection) {
    match selection {
        Selection::UpTo(seq) => {
            out.push(b'u');
            put_number(out, seq.0);
        }
        Selection::Ids(ids) => {
            out.push(b'i');
            put_number(out, ids.len() as u64);
            for id in ids {
                put_id(out, *id);
            }
        }
    }
}

fn read_selection(reader: &mut Reader<'_>) -> Result<Selection, Unreadable> {
    match reader.byte()? {
        b'u' => Ok(Selection::UpTo(Seq(reader.number()?))),
        b'i' => {
            let mut ids = Vec::new();
            for _ in 0..reader.number()? {
                ids.push(read_id(reader)?);
            }
            Ok(Selection::Ids(ids))
        }
        _ => Err(Unreadable),
    }
}

fn read_mark(reader: &mut Reader<'_>) -> Result<Mark, Unreadable> {
    match reader.byte()? {
        b's' => Ok(Mark::Seen),
        b'r' => Ok(Mark::Read),
        b'a' => Ok(Mark::Archived),
        _ => Err(Unreadable),
    }
}

fn put_id(out: &mut Vec<u8>, id: NotificationId) {
    put_number(out, id.inbox.0);
    put_number(out, id.seq.0);
}

fn read_id(reader: &mut Reader<'_>) -> Result<NotificationId, Unreadable> {
    let inbox = InboxNumber(reader.number()?);
    Ok(NotificationId { inbox, seq: Seq(reader.number()?) })
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    // Never negative.
    put_number(out, u64::try_from(time.as_millis()).unwrap_or(0));
}

fn read_time(reader: &mut Reader<'_>) -> Result<Timestamp, Unreadable> {
    let millis = i64::try_from(reader.number()?).map_err(|_| Unreadable)?;
    Ok(Timestamp::from_millis(millis))
}

fn read_user(reader: &mut Reader<'_>) -> Result<UserId, Unreadable> {
    UserId::new(reader.text()?).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_arrives_as_it_was_sent() {
        let ann = UserId::new("ann").unwrap();
        let id = NotificationId { inbox: InboxNumber(7), seq: Seq(300) };
        let marked = |mark, selection| {
            let (unread, last_seq) = (200, Seq(1 << 33));
            SessionHint::Marked { mark, selection, unread, last_seq }
        };
        let hints = [
            marked(Mark::Seen, Selection::UpTo(Seq(1 << 40))),
            marked(Mark::Read, Selection::Ids(vec![id, id])),
            marked(Mark::Archived, Selection::Ids(vec![])),
            SessionHint::Look,
            SessionHint::Revoke { before: Timestamp::from_millis(1_790_000_000_123) },
        ];
        let mut out = Vec::new();
        let shard = ShardIndex::new(9).unwrap();
        put_shard_header(&mut out, RunId(5), shard, 1_000);
        hints.iter().for_each(|hint| put_hint(&mut out, &ann, hint));
        let Ok(Message::Shard { from: RunId(5), shard: at, number: 1_000, mut items }) =
            Message::read(&out)
        else {
            panic!("not the message: {out:?}");
        };
        assert_eq!(at, shard);
        for hint in hints {
            let item = items.next().unwrap();
            assert!(matches!(item, Some(Item::Hint(user, it)) if user == ann && it == hint));
        }
        assert!(items.next().unwrap().is_none());
    }

    #[test]
    fn what_another_version_says_is_unreadable() {
        let mut beat = heartbeat(RunId(1), false, &[3; SHARDS]);
        assert!(Message::read(&beat).is_ok());
        beat[0] = VERSION + 1;
        assert!(Message::read(&beat).is_err());
    }
}
