//! The ids of the users, by number and back.
//!
//! The text of an id is kept once, next to those of its neighbours by number: ids of ten bytes take
//! about 25 bytes each. A [`UserId`] is made when an id leaves the index.

use std::{
    hash::{BuildHasher, RandomState},
    hint::black_box,
};

use tidings_core::ids::UserId;

use super::{
    bits::{low_word, put_varint, take_bytes, take_varint, to_usize},
    digest::hash_bytes,
    index::UserNumber,
    segment::{SEGMENT_USERS, segment_of},
    table::Table,
};

/// Ids that are looked up together.
const TOGETHER: usize = 64;

/// The ids of [`SEGMENT_USERS`] users.
#[derive(Debug, Default)]
struct Page {
    text: String,
    ends: Vec<u32>,
}

impl Page {
    fn get(&self, place: usize) -> Option<&str> {
        let end = *self.ends.get(place)? as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }
}

/// All ids.
#[derive(Debug)]
pub(super) struct Interner {
    pages: Vec<Page>,
    numbers: Table<UserNumber>,
    /// Of this process: nobody else knows which ids would fall into one place of the table.
    seed: u64,
    users: usize,
}

impl Default for Interner {
    fn default() -> Self {
        let seed = RandomState::new().hash_one("seed");
        Self { pages: Vec::new(), numbers: Table::default(), seed, users: 0 }
    }
}

impl Interner {
    /// Numbers that were given, also those of ids that are forgotten.
    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// Ids that are not forgotten.
    pub(super) fn known(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<UserNumber> {
        let hash = hash_bytes(self.seed, id.as_bytes());
        self.numbers.find(hash, |it| text(&self.pages, *it) == Some(id)).copied()
    }

    /// Finds many ids at once. Each look-up waits for memory four times, one after the other; here the
    /// look-ups of some ids wait together.
    pub(super) fn find_all(&self, ids: &[&str], found: &mut Vec<Option<UserNumber>>) {
        for ids in ids.chunks(TOGETHER) {
            let mut hashes = [0; TOGETHER];
            let mut likely = [None; TOGETHER];
            for ((id, hash), likely) in ids.iter().zip(&mut hashes).zip(&mut likely) {
                *hash = hash_bytes(self.seed, id.as_bytes());
                // Nearly always the right one: it has the same seven bits of the hash.
                *likely = self.numbers.find(*hash, |_| true).copied();
            }
            for user in likely.iter().take(ids.len()).flatten() {
                black_box(text(&self.pages, *user).map(|it| it.as_bytes().first().copied()));
            }
            for ((id, hash), likely) in ids.iter().zip(hashes).zip(likely) {
                let is_it = |user: &UserNumber| text(&self.pages, *user) == Some(id);
                let user = likely.filter(is_it);
                found.push(user.or_else(|| self.numbers.find(hash, is_it).copied()));
            }
        }
    }

    /// The text of an id; none for a number that is not in use.
    pub(super) fn text(&self, user: UserNumber) -> Option<&str> {
        text(&self.pages, user).filter(|text| !text.is_empty())
    }

    /// The id of a number that is in use.
    #[expect(
        clippy::expect_used,
        reason = "what is kept was the text of an id, which a test holds to"
    )]
    pub(super) fn id(&self, user: UserNumber) -> UserId {
        UserId::new(self.text(user).unwrap_or("?")).expect("the text of an id makes an id")
    }

    /// Gives `id`, which is new, the next number.
    pub(super) fn push(&mut self, id: &str) {
        let number = self.push_number(id);
        let Self { pages, numbers, seed, .. } = self;
        let hash_of =
            |it: &UserNumber| hash_bytes(*seed, text(pages, *it).unwrap_or_default().as_bytes());
        numbers.insert(hash_bytes(*seed, id.as_bytes()), number, hash_of);
    }

    /// Uses up the next number for somebody who is forgotten.
    pub(super) fn push_forgotten(&mut self) {
        self.push_number("");
    }

    fn push_number(&mut self, id: &str) -> UserNumber {
        let number = low_word(self.users as u64);
        if segment_of(number).1 == 0 {
            if let Some(full) = self.pages.last_mut() {
                full.text.shrink_to_fit();
                full.ends.shrink_to_fit();
            }
            self.pages.push(Page::default());
        }
        if let Some(page) = self.pages.last_mut() {
            page.text.push_str(id);
            page.ends.push(low_word(page.text.len() as u64));
        }
        self.users += 1;
        number
    }

    /// Forgets an id; its number is not used again.
    pub(super) fn forget(&mut self, user: UserNumber) {
        let Self { pages, numbers, seed, .. } = self;
        let Some(id) = text(pages, user).filter(|it| !it.is_empty()) else { return };
        let gone = numbers.remove(hash_bytes(*seed, id.as_bytes()), |it| *it == user);
        debug_assert!(gone.is_some(), "an id that is not forgotten has its number");
        let length = id.len();
        let (page, place) = segment_of(user);
        let page = &mut pages[page];
        let start = page.ends[place] as usize - length;
        page.text.replace_range(start..start + length, "");
        // What moved up left its end behind: no copy of the last id may stay there, nor of this one.
        let mut text = String::with_capacity(page.text.len());
        text.push_str(&page.text);
        page.text = text;
        let length = low_word(length as u64);
        page.ends[place..].iter_mut().for_each(|end| *end -= length);
    }

    /// The ids of a page, as a snapshot holds them; none if there is no such page.
    pub(super) fn encode_page(&self, page: usize, users: usize) -> Option<Vec<u8>> {
        let page = self.pages.get(page)?;
        let mut bytes = Vec::with_capacity(page.text.len() + page.ends.len());
        for place in 0..page.ends.len().min(users) {
            let text = page.get(place).unwrap_or_default();
            put_varint(&mut bytes, text.len() as u64);
            bytes.extend_from_slice(text.as_bytes());
        }
        Some(bytes)
    }

    /// Takes in the ids of the next page; false if they are none, or one is known already.
    pub(super) fn decode_page(&mut self, mut bytes: &[u8]) -> bool {
        let mut users = 0;
        while !bytes.is_empty() {
            let Some(id) = take_text(&mut bytes) else { return false };
            users += 1;
            if id.is_empty() {
                self.push_forgotten();
                continue;
            }
            if UserId::new(id).is_err() || self.find(id).is_some() {
                return false;
            }
            self.push(id);
        }
        users <= SEGMENT_USERS
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.iter();
        let pages: usize = pages.map(|it| it.text.capacity() + it.ends.capacity() * 4).sum();
        pages + self.numbers.bytes()
    }
}

/// Takes a text with its length before it.
pub(super) fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = to_usize(take_varint(bytes)?);
    std::str::from_utf8(take_bytes(bytes, length)?).ok()
}

fn text(pages: &[Page], user: UserNumber) -> Option<&str> {
    let (page, place) = segment_of(user);
    pages.get(page)?.get(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> String {
        match number % 3 {
            0 => format!("user-{number}"),
            1 => format!("\u{1f600}{number}"),
            _ => format!("{number}{}", "x".repeat(100)),
        }
    }

    #[test]
    fn ids_are_found_by_number_and_back_until_they_are_forgotten() {
        let mut ids = Interner::default();
        for number in 0..10_000 {
            ids.push(&name(number));
        }
        for number in (0..10_000).step_by(7) {
            ids.forget(number);
            ids.forget(number);
        }
        let mut copy = Interner::default();
        for page in 0..3 {
            assert!(copy.decode_page(&ids.encode_page(page, SEGMENT_USERS).unwrap()));
        }
        assert!(ids.encode_page(3, SEGMENT_USERS).is_none());
        for ids in [&ids, &copy] {
            for number in 0..10_000 {
                let found = ids.find(&name(number));
                assert_eq!(found, (number % 7 != 0).then_some(number));
                assert_eq!(ids.text(number).is_some(), number % 7 != 0);
                if found.is_some() {
                    assert_eq!(ids.id(number).as_str(), name(number));
                }
            }
            let names: Vec<_> = (0..10_100).map(name).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let mut found = Vec::new();
            ids.find_all(&names, &mut found);
            assert!(found.iter().copied().eq(names.iter().map(|it| ids.find(it))));
            assert_eq!((ids.users(), ids.known()), (10_000, 10_000 - 1_429));
            assert!(!ids.pages.iter().any(|it| it.text.contains("user-21\u{1f600}")));
        }
        ids.push(&name(7));
        assert_eq!(ids.find(&name(7)), Some(10_000), "who comes back is somebody new");
        assert!(!copy.decode_page(&[9, b'a']) && !copy.decode_page(&[1, b'\n']));
    }

    #[test]
    fn a_million_ids_of_ten_bytes_take_less_than_30_bytes_each() {
        let mut ids = Interner::default();
        for number in 0..1u32 << 17 {
            ids.push(&format!("user{number:06}"));
        }
        let each = ids.bytes() / ids.users();
        assert!(each < 30, "{each} bytes");
    }
}
