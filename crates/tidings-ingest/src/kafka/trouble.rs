//! What polls report besides records, until it is seen to be over.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode;

use super::health::{KafkaTrouble, TroubleKind};

/// After how long without another report an error is taken to be over, unless it is one that the
/// client reports once: on an idle topic nothing else would show it.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What is reported and not over, by code.
///
/// The client names the code only, not the topic: any of the topics may be meant, until it is heard of.
#[derive(Debug, Default)]
pub(super) struct Troubles(Vec<Trouble>);

#[derive(Debug)]
struct Trouble {
    code: RDKafkaErrorCode,
    times: u64,
    last: Instant,
    /// The topics of which nothing was heard since.
    suspects: BTreeSet<Arc<str>>,
}

impl Troubles {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a report; says whether it is worth a line in the log: the first, and at powers of two.
    pub(super) fn note(
        &mut self,
        code: RDKafkaErrorCode,
        suspects: BTreeSet<Arc<str>>,
        now: Instant,
    ) -> bool {
        let known = self.0.iter().position(|it| it.code == code);
        let mut trouble = match known {
            Some(place) => self.0.remove(place),
            None => Trouble { code, times: 0, last: now, suspects: BTreeSet::new() },
        };
        trouble.times += 1;
        trouble.last = now;
        trouble.suspects = suspects;
        let is_news = trouble.times.is_power_of_two();
        self.0.push(trouble);
        is_news
    }

    /// A topic was assigned, or a record of it came; says whether that ended or narrowed a trouble.
    pub(super) fn hear_of(&mut self, topic: &str) -> bool {
        let mut changed = false;
        self.0.retain_mut(|it| {
            changed |= it.suspects.remove(topic);
            // A group that lets nobody in assigns nothing.
            let is_of_group = it.code == RDKafkaErrorCode::GroupAuthorizationFailed;
            changed |= is_of_group;
            !is_of_group && !it.suspects.is_empty()
        });
        changed
    }

    /// Drops what was not reported again; says whether there was any.
    pub(super) fn forget_old(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|it| {
            kind_of(it.code) != TroubleKind::Errors
                || now.saturating_duration_since(it.last) < FORGOTTEN
        });
        self.0.len() < before
    }

    /// For the health.
    pub(super) fn shown(&self) -> Vec<KafkaTrouble> {
        let shown = |it: &Trouble| KafkaTrouble {
            kind: kind_of(it.code),
            error: it.code.to_string(),
            times: it.times,
            topics: it.suspects.iter().cloned().collect(),
        };
        self.0.iter().map(shown).collect()
    }
}

fn kind_of(code: RDKafkaErrorCode) -> TroubleKind {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::InvalidTopic => TroubleKind::TopicNotAvailable,
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => TroubleKind::NotAuthorised,
        _ => TroubleKind::Errors,
    }
}

/// Whether no broker is reached, which the health says by itself, and ends when one is.
pub(super) fn is_of_connection(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::OperationTimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: RDKafkaErrorCode = RDKafkaErrorCode::UnknownTopicOrPartition;

    fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn a_trouble_ends_when_every_topic_that_may_be_meant_is_heard_of() {
        let mut troubles = Troubles::default();
        troubles.note(MISSING, topics(&["a", "b"]), Instant::now());
        assert!(troubles.hear_of("a"));
        assert!(!troubles.hear_of("a"));
        assert_eq!(troubles.shown()[0].topics, [Arc::from("b")]);
        assert!(troubles.hear_of("b"));
        assert!(troubles.is_empty());
    }

    #[test]
    fn a_group_that_assigns_lets_the_node_in() {
        let mut troubles = Troubles::default();
        troubles.note(
            RDKafkaErrorCode::GroupAuthorizationFailed,
            topics(&["a", "b"]),
            Instant::now(),
        );
        assert_eq!(troubles.shown()[0].kind, TroubleKind::NotAuthorised);
        assert!(troubles.hear_of("b"));
        assert!(troubles.is_empty());
    }

    #[test]
    fn what_goes_on_is_logged_ever_more_seldom() {
        let mut troubles = Troubles::default();
        let news =
            (1..=100).filter(|_| troubles.note(MISSING, topics(&["a"]), Instant::now())).count();
        assert_eq!(news, 7, "1, 2, 4, …, 64");
    }

    #[test]
    fn an_error_that_is_not_repeated_is_forgotten_and_a_missing_topic_is_not() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        troubles.note(MISSING, topics(&["a"]), now);
        troubles.note(RDKafkaErrorCode::BadMessage, topics(&["a"]), now);
        assert!(!troubles.forget_old(now));
        assert!(troubles.forget_old(now + FORGOTTEN));
        assert_eq!(troubles.shown().len(), 1);
        assert_eq!(troubles.shown()[0].kind, TroubleKind::TopicNotAvailable);
    }
}
