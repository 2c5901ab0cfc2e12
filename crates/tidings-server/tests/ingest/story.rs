//! What producers send in these tests: events for named users, some for several, some twice, some as
//! CloudEvents, and one record in a hundred that is no event.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

/// A record that is to be produced.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) meaning: Meaning,
}

/// What a record has to become.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// These users have this event in their inboxes, once.
    Tells { event: String, users: Vec<String> },
    /// A dead letter, one.
    Poison,
}

impl Draft {
    /// An event for `users`.
    pub(crate) fn event(id: &str, users: &[String]) -> Self {
        let json = event_json(id, users, &[]);
        Self::telling(id, users, json.to_string())
    }

    /// A record that tells `users` of `event`, however its value says so.
    pub(crate) fn telling(event: &str, users: &[String], value: impl Into<Vec<u8>>) -> Self {
        let meaning = Meaning::Tells { event: event.to_owned(), users: users.to_vec() };
        let value = Some(value.into());
        Self { partition: 0, key: None, value, headers: Vec::new(), meaning }
    }

    /// A record that is no event.
    pub(crate) fn poison(value: Option<Vec<u8>>) -> Self {
        let meaning = Meaning::Poison;
        Self { partition: 0, key: None, value, headers: Vec::new(), meaning }
    }

    pub(crate) fn on(self, partition: i32) -> Self {
        Self { partition, ..self }
    }
}

/// The JSON of an event, with more fields than it needs.
pub(crate) fn event_json(id: &str, users: &[String], fields: &[(&str, Value)]) -> Value {
    let mut event = json!({
        "id": id, "source": "story", "type": "like", "audience": {"users": users},
        "actor": "the_actor", "title": format!("title of {id}"), "data": {"of": id},
    });
    for (name, value) in fields {
        event[name] = value.clone();
    }
    event
}

/// An endless stream of drafts, the same for the same seed.
pub(crate) struct Story {
    random: StdRng,
    users: usize,
    partitions: i32,
    next: u64,
    /// What was sent last, to be sent again.
    recent: VecDeque<Draft>,
}

impl Story {
    pub(crate) fn new(seed: u64, users: usize, partitions: i32) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, users, partitions, next: 0, recent: VecDeque::new() }
    }

    /// Everyone who may be told of something.
    pub(crate) fn users(&self) -> Vec<String> {
        (0..self.users).map(user).collect()
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<Draft> {
        (0..count).map(|_| self.draft()).collect()
    }

    fn draft(&mut self) -> Draft {
        match self.random.random_range(0..100) {
            0 => {
                let partition = self.random.random_range(0..self.partitions);
                Draft::poison(Some(format!("{{\"no\": {}", self.next).into_bytes())).on(partition)
            }
            1..5 => self.again().unwrap_or_else(|| self.fresh()),
            _ => self.fresh(),
        }
    }

    fn fresh(&mut self) -> Draft {
        let id = format!("e{}", self.next);
        self.next += 1;
        let first = self.random.random_range(0..self.users);
        let more = if self.random.random_bool(0.2) { self.random.random_range(1..4) } else { 0 };
        let mut users = vec![user(first)];
        for _ in 0..more {
            // Someone may be named twice, which counts once.
            users.push(user(self.random.random_range(0..self.users)));
        }
        let partition = i32::try_from(first).unwrap() % self.partitions;
        let mut draft = Draft { key: Some(user(first)), ..Draft::event(&id, &users) }.on(partition);
        match self.random.random_range(0..20) {
            0 => write_as_structured(&mut draft, &id, &users),
            1 => write_as_binary(&mut draft, &id, &users),
            _ => {}
        }
        if self.recent.len() == 64 {
            self.recent.pop_front();
        }
        self.recent.push_back(draft.clone());
        draft
    }

    /// Something that was sent already, as it was or for one more user.
    fn again(&mut self) -> Option<Draft> {
        let recent = self.recent.make_contiguous();
        let mut draft = recent.choose(&mut self.random)?.clone();
        if self.random.random_bool(0.5)
            && let Meaning::Tells { event, users } = &mut draft.meaning
        {
            users.push(user(self.random.random_range(0..self.users)));
            draft.value = Some(event_json(event, users, &[]).to_string().into_bytes());
            draft.headers.clear();
        }
        Some(draft)
    }
}

fn user(number: usize) -> String {
    format!("u{number}")
}

fn write_as_structured(draft: &mut Draft, id: &str, users: &[String]) {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "story", "type": "like",
        "data": {"audience": {"users": users}, "title": "structured"},
    });
    draft.value = Some(event.to_string().into_bytes());
    draft.headers = vec![("content-type", "application/cloudevents+json".to_owned())];
}

fn write_as_binary(draft: &mut Draft, id: &str, users: &[String]) {
    let data = json!({"audience": {"users": users}, "title": "binary"});
    draft.value = Some(data.to_string().into_bytes());
    draft.headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id.to_owned()),
        ("ce_source", "story".to_owned()),
        ("ce_type", "like".to_owned()),
    ];
}
