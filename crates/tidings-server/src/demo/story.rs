//! A believable stream of events over a follow graph.
//!
//! Actors are drawn by their follows (who follows many does much), and what they do goes where the
//! graph says: they like, comment on and mention people they follow, follow people they follow, and
//! post to those who follow them. The same seed tells the same story.

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tidings_core::ids::UserId;

use super::graph::DemoGraph;

/// One event of the story and whom it should reach.
pub struct StoryEvent {
    /// What the app's backend would send.
    pub json: Value,
    /// Who should be told, each once.
    pub recipients: Vec<u32>,
    /// Whether people who are not online are pushed to.
    pub pushed: bool,
}

/// Endless events over a graph.
pub struct Story {
    graph: Arc<DemoGraph>,
    random: StdRng,
    run: String,
    number: u64,
}

/// How often each kind of event happens, in percent.
const KINDS: [(Kind, u32); 5] = [
    (Kind::Like, 40),
    (Kind::Comment, 22),
    (Kind::Follow, 14),
    (Kind::Mention, 12),
    (Kind::Post, 12),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Like,
    Comment,
    Follow,
    Mention,
    Post,
}

impl Story {
    /// The story of `seed`. `run` goes into event ids, so that a second run is not a repetition.
    #[must_use]
    pub fn new(graph: Arc<DemoGraph>, seed: u64, run: &str) -> Self {
        Self { graph, random: StdRng::seed_from_u64(seed), run: run.to_owned(), number: 0 }
    }

    /// What happens next.
    pub fn next_event(&mut self) -> StoryEvent {
        let number = self.number;
        self.number += 1;
        let kind = KINDS
            .choose_weighted(&mut self.random, |(_, share)| *share)
            .map_or(Kind::Like, |(kind, _)| *kind);
        let (actor, followee) = self.some_follow();
        let id = format!("{}-{number}", self.run);
        let [name, other] = [actor, followee].map(|it| self.graph.user(it).as_str().to_owned());
        let post = format!("p_{}", self.random.random_range(0..100_000));
        let about_post = json!({"type": "post", "id": post, "url": format!("app://posts/{post}")});
        let event = |source: &str, kind: &str, title: String, body: &str, priority: &str| {
            json!({
                "id": id, "source": source, "type": kind, "actor": name, "title": title,
                "body": body, "priority": priority, "ttl_seconds": 86_400,
            })
        };
        let (mut json, recipients) = match kind {
            Kind::Like => {
                let mut json =
                    event("posts", "like", format!("{name} liked your photo"), "", "low");
                json["group"] = json!(format!("like:{post}"));
                json["object"] = about_post;
                (json, vec![followee])
            }
            Kind::Comment => {
                let body = self.sentence();
                let title = format!("{name} commented on your photo");
                let mut json = event("posts", "comment", title, &body, "normal");
                json["object"] = about_post;
                (json, vec![followee])
            }
            Kind::Follow => {
                let title = format!("{name} started following you");
                let mut json = event("graph", "follow", title, "", "normal");
                json["object"] = json!({"type": "user", "id": name});
                (json, vec![followee])
            }
            Kind::Mention => {
                let body = format!("@{other} {}", self.sentence());
                let title = format!("{name} mentioned you");
                let mut json = event("posts", "mention", title, &body, "high");
                json["object"] = about_post;
                (json, self.mentioned(followee))
            }
            Kind::Post => {
                let body = self.sentence();
                let mut json = event("posts", "post", format!("{name} posted"), &body, "normal");
                json["object"] = about_post;
                json["audience"] = json!({"followers_of": name});
                (json, self.graph.followers[actor as usize].clone())
            }
        };
        if json.get("audience").is_none() {
            let users: Vec<_> = recipients.iter().map(|it| self.graph.user(*it).as_str()).collect();
            json["audience"] = json!({ "users": users });
        }
        StoryEvent { json, recipients, pushed: !matches!(kind, Kind::Like) }
    }

    /// The id of one of [`StoryEvent::recipients`].
    #[must_use]
    pub fn user(&self, number: u32) -> &UserId {
        self.graph.user(number)
    }

    fn some_follow(&mut self) -> (u32, u32) {
        self.graph.follows.choose(&mut self.random).copied().unwrap_or_default()
    }

    /// The followee and up to two more.
    fn mentioned(&mut self, followee: u32) -> Vec<u32> {
        let mut users = vec![followee];
        for _ in 0..self.random.random_range(0..3) {
            users.push(self.some_follow().1);
        }
        users.sort_unstable();
        users.dedup();
        users
    }

    fn sentence(&mut self) -> String {
        const OPENINGS: [&str; 6] = [
            "Look at this",
            "Who else was there",
            "Finally",
            "This made my day",
            "Wait for it",
            "So",
        ];
        const TOPICS: [&str; 6] = [
            "the sunset over the bay",
            "a new bakery at the corner",
            "first snow of the year",
            "the band from last night",
            "my tomatoes",
            "a very small dog",
        ];
        let pick = |random: &mut StdRng, from: &[&'static str; 6]| from[random.random_range(0..6)];
        format!("{}: {}", pick(&mut self.random, &OPENINGS), pick(&mut self.random, &TOPICS))
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{clock::Timestamp, event::IncomingEvent};

    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story_of_valid_events() {
        let graph = Arc::new(DemoGraph::load("small").unwrap());
        let mut one = Story::new(Arc::clone(&graph), 7, "run");
        let mut two = Story::new(graph, 7, "run");
        for _ in 0..500 {
            let event = one.next_event();
            assert_eq!(event.json, two.next_event().json);
            let json = event.json.to_string();
            IncomingEvent::from_json(json.as_bytes(), Timestamp::from_millis(0)).unwrap();
            let mut recipients = event.recipients.clone();
            recipients.dedup();
            assert_eq!(recipients, event.recipients, "each recipient once");
        }
    }
}
