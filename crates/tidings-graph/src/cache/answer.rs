//! What the store has answered, as bytes: what is kept in both levels.

use bytes::Bytes;
use tidings_core::{
    clock::Timestamp,
    follow::{Follow, FollowCounts, Hidden},
    ids::UserId,
    ports::{Cursor, Page},
};

/// What the store has answered, as bytes.
pub(super) type Answer = Bytes;

/// What is kept cannot be read: written by another version, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an answer to this question")]
pub(super) struct Unreadable;

pub(super) fn of_counts(counts: FollowCounts) -> Answer {
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&counts.followers.to_be_bytes());
    bytes.extend_from_slice(&counts.following.to_be_bytes());
    bytes.into()
}

pub(super) fn counts(answer: &Answer) -> Result<FollowCounts, Unreadable> {
    let mut rest = &answer[..];
    Ok(FollowCounts { followers: take_u64(&mut rest)?, following: take_u64(&mut rest)? })
}

pub(super) fn of_flags(flags: &[bool]) -> Answer {
    flags.iter().map(|flag| u8::from(*flag)).collect::<Vec<_>>().into()
}

/// The flags, if there are `count`.
pub(super) fn flags(answer: &Answer, count: usize) -> Result<Vec<bool>, Unreadable> {
    let flags: Vec<_> = answer.iter().map(|flag| *flag == 1).collect();
    if flags.len() == count { Ok(flags) } else { Err(Unreadable) }
}

pub(super) fn of_hidden(hidden: &Hidden) -> Answer {
    match hidden {
        Hidden::Nobody => Bytes::new(),
        Hidden::Those(flags) => of_flags(flags),
    }
}

pub(super) fn hidden(answer: &Answer, count: usize) -> Result<Hidden, Unreadable> {
    if answer.is_empty() {
        return Ok(Hidden::Nobody);
    }
    flags(answer, count).map(Hidden::Those)
}

/// The whole of whom a user follows; of more than one page, nothing but that.
pub(super) fn of_followees(page: &Page<Follow>) -> Answer {
    if page.next.is_some() {
        return Bytes::from_static(&[0]);
    }
    let mut bytes = vec![1];
    for follow in &page.items {
        put(&mut bytes, follow.followee.as_str());
        bytes.extend_from_slice(&follow.at.as_millis().to_be_bytes());
    }
    bytes.into()
}

/// Which of `others` are among the followees; `None` if there are too many to say.
pub(super) fn among_followees(
    answer: &Answer,
    others: &[UserId],
) -> Result<Option<Vec<bool>>, Unreadable> {
    let mut rest = match answer.split_first() {
        Some((0, _)) => return Ok(None),
        Some((_, rest)) => rest,
        None => return Err(Unreadable),
    };
    if let [other] = others {
        while !rest.is_empty() {
            let followee = take(&mut rest)?;
            take_u64(&mut rest)?;
            if followee == other.as_str().as_bytes() {
                return Ok(Some(vec![true]));
            }
        }
        return Ok(Some(vec![false]));
    }
    let mut followees = std::collections::HashSet::new();
    while !rest.is_empty() {
        followees.insert(take(&mut rest)?);
        take_u64(&mut rest)?;
    }
    let found = others.iter().map(|other| followees.contains(other.as_str().as_bytes()));
    Ok(Some(found.collect()))
}

/// The first page of whom `follower` follows; `None` if it does not hold them all, and so is another
/// question.
pub(super) fn first_followees(
    answer: &Answer,
    follower: &UserId,
    limit: usize,
) -> Result<Option<Page<Follow>>, Unreadable> {
    let mut rest = match answer.split_first() {
        Some((0, _)) => return Ok(None),
        Some((_, rest)) => rest,
        None => return Err(Unreadable),
    };
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (followee, at) = take_item(&mut rest)?;
        items.push(Follow { follower: follower.clone(), followee, at });
    }
    Ok((items.len() <= limit).then_some(Page { items, next: None }))
}

/// A page, of whose items `show` gives the other end and the time.
pub(super) fn of_page<T>(
    page: &Page<T>,
    show: impl Fn(&T) -> (&UserId, Option<Timestamp>),
) -> Answer {
    let mut bytes = Vec::with_capacity(page.items.len() * 24 + 16);
    put(&mut bytes, page.next.as_ref().map_or("", Cursor::as_str));
    for item in &page.items {
        let (user, at) = show(item);
        put(&mut bytes, user.as_str());
        let at = at.map_or(0, Timestamp::as_millis);
        bytes.extend_from_slice(&at.to_be_bytes());
    }
    bytes.into()
}

/// A page, of whose items `make` makes one of the other end and the time.
pub(super) fn page<T>(
    answer: &Answer,
    make: impl Fn(UserId, Timestamp) -> T,
) -> Result<Page<T>, Unreadable> {
    let mut rest = &answer[..];
    let next = text(take(&mut rest)?)?;
    let next = if next.is_empty() {
        None
    } else {
        Some(Cursor::new(next.to_owned()).map_err(|_| Unreadable)?)
    };
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (user, at) = take_item(&mut rest)?;
        items.push(make(user, at));
    }
    Ok(Page { items, next })
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    // An id has 128 bytes at most and a cursor 256: two bytes are enough.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let (length, more) = rest.split_first_chunk().ok_or(Unreadable)?;
    let (part, more) =
        more.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(Unreadable)?;
    *rest = more;
    Ok(part)
}

fn take_item(rest: &mut &[u8]) -> Result<(UserId, Timestamp), Unreadable> {
    let user = UserId::new(text(take(rest)?)?).map_err(|_| Unreadable)?;
    let at = i64::from_be_bytes(take_u64(rest)?.to_be_bytes());
    Ok((user, Timestamp::from_millis(at)))
}

fn take_u64(rest: &mut &[u8]) -> Result<u64, Unreadable> {
    let (number, more) = rest.split_first_chunk().ok_or(Unreadable)?;
    *rest = more;
    Ok(u64::from_be_bytes(*number))
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn follow(followee: &str, millis: i64) -> Follow {
        let at = Timestamp::from_millis(millis);
        Follow { follower: user("ann"), followee: user(followee), at }
    }

    #[test]
    fn a_page_survives_its_bytes() {
        let next = Some(Cursor::new("x-1".into()).unwrap());
        for next in [None, next] {
            let items = vec![follow("🦀", 7), follow(&"x".repeat(128), 0)];
            let whole = Page { items, next };
            let answer = of_page(&whole, |it| (&it.followee, Some(it.at)));
            let make = |followee, at| Follow { follower: user("ann"), followee, at };
            assert_eq!(page(&answer, make), Ok(whole.clone()));
            for end in 1..answer.len() {
                let cut = page(&answer.slice(..end), make);
                assert_ne!(cut, Ok(whole.clone()), "{end} bytes of {}", answer.len());
            }
        }
    }

    #[test]
    fn followees_answer_for_each_user() {
        let items = vec![follow("ben", 1), follow("cem", 2)];
        let answer = of_followees(&Page { items: items.clone(), next: None });
        let asked = ["cem", "be", "ben", "n"].map(user);
        for limit in [2, 3] {
            let page = Page { items: items.clone(), next: None };
            assert_eq!(first_followees(&answer, &user("ann"), limit), Ok(Some(page)));
        }
        assert_eq!(first_followees(&answer, &user("ann"), 1), Ok(None));
        assert_eq!(among_followees(&answer, &asked), Ok(Some(vec![true, false, true, false])));
        assert_eq!(among_followees(&answer, &asked[..1]), Ok(Some(vec![true])));
        assert_eq!(among_followees(&answer, &asked[1..2]), Ok(Some(vec![false])));
        let next = Some(Cursor::new("more".into()).unwrap());
        assert_eq!(among_followees(&of_followees(&Page { items, next }), &asked), Ok(None));
        assert_eq!(among_followees(&Bytes::new(), &asked), Err(Unreadable));
    }

    #[test]
    fn flags_of_another_question_are_refused() {
        let answer = of_hidden(&Hidden::gather(vec![true, false]));
        assert_eq!(hidden(&answer, 2), Ok(Hidden::Those(vec![true, false])));
        assert_eq!(hidden(&answer, 3), Err(Unreadable));
        assert_eq!(hidden(&of_hidden(&Hidden::Nobody), 3), Ok(Hidden::Nobody));
    }
}
