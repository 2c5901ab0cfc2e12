//! Pages of followers, and what becomes of one that the store refuses.

use tidings_core::{
    batch::PlannedEvent,
    clock::Timestamp,
    dead_letter::{NewDeadLetter, Origin, Stage},
    event::{Audience, IncomingEvent},
    ids::UserId,
    ports::Cursor,
};

/// What is stored with a step.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// The notifications of the page.
    Followers(PlannedEvent),
    /// Instead of the notification that is refused.
    Letter { user: UserId, letter: NewDeadLetter },
    /// Nothing: the letter is refused too, or there was nothing else.
    Nothing,
}

/// A page of followers.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) rows: Rows,
    /// Where the next page begins.
    pub(super) next: Option<Cursor>,
}

/// What to do instead of a page that the store refuses.
#[derive(Debug)]
pub(super) enum Instead {
    /// Read fewer followers.
    Fewer(usize),
    /// Store this.
    Store(Page),
    /// Nothing smaller is left.
    GiveUp,
}

impl Page {
    /// Followers who are told with it.
    pub(super) fn recipients(&self) -> usize {
        match &self.rows {
            Rows::Followers(planned) => planned.recipients.len(),
            Rows::Letter { .. } | Rows::Nothing => 0,
        }
    }

    /// Divides the page down to the follower whose notification is refused; for that one there is a
    /// dead letter that tells nobody else when it is replayed.
    pub(super) fn refused(self, why: &str, now: Timestamp) -> Instead {
        let Self { rows, next } = self;
        let rows = match rows {
            Rows::Followers(planned) if planned.recipients.len() > 1 => {
                return Instead::Fewer(planned.recipients.len() / 2);
            }
            Rows::Followers(mut planned) => match planned.recipients.pop() {
                Some(it) => {
                    Rows::Letter { letter: letter(planned, &it.user, why, now), user: it.user }
                }
                None => Rows::Nothing,
            },
            Rows::Letter { user, .. } => {
                tracing::error!(user.id = %user, error = why,
                    "a follower is passed over: the store takes neither notification nor dead letter");
                metrics::counter!("tidings_fan_out_passed_over_total").increment(1);
                Rows::Nothing
            }
            Rows::Nothing => return Instead::GiveUp,
        };
        Instead::Store(Self { rows, next })
    }
}

fn letter(planned: PlannedEvent, user: &UserId, why: &str, at: Timestamp) -> NewDeadLetter {
    let audience = Audience::Users(vec![user.clone()]);
    let payload = IncomingEvent { event: planned.event, audience }.to_json();
    NewDeadLetter {
        origin: Origin::FanOut,
        stage: Stage::Store,
        reason: why.to_owned(),
        payload_bytes: u64::try_from(payload.len()).unwrap_or(u64::MAX),
        payload,
        at,
    }
}
