//! What the client of a session says, and what is done about it.

use std::collections::VecDeque;

use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    error_chain::ErrorChain,
    ids::{NotificationId, Seq},
    inbox::{Acknowledgement, Mark, Selection, Stretch},
};
use tokio::time::Instant;

use super::{
    protocol::{BadFrame, ClientFrame, CloseCode, ServerFrame, read_frame},
    session::{Ending, Session},
    socket::{Incoming, SessionSocket},
};

/// How much of the name of an unknown frame is said back.
const NAME_CHARS: usize = 64;

impl Session<'_> {
    /// Does what the client asks for.
    pub(super) async fn hear<S: SessionSocket>(
        &mut self,
        incoming: Incoming,
        socket: &mut S,
    ) -> Result<(), Ending> {
        self.heard = Instant::now();
        self.pinged_at = None;
        self.paid_at = self.handler.config.pace.pay(self.paid_at, self.heard);
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Alive => return Ok(()),
            Incoming::Binary => return Err(Ending::malformed("frames are JSON text")),
        };
        match read_frame(&text) {
            Ok(ClientFrame::Ack { seq }) => Box::pin(self.acknowledge(Seq(seq))).await,
            Ok(ClientFrame::Read { ids, up_to_seq }) => {
                let selection = match (ids, up_to_seq) {
                    (Some(ids), None) => Selection::Ids(ids),
                    (None, Some(seq)) => Selection::UpTo(Seq(seq)),
                    _ => return Err(Ending::malformed("read takes one of ids and up_to_seq")),
                };
                Box::pin(self.mark_read(selection, socket)).await
            }
            Ok(ClientFrame::Renew { token }) => Box::pin(self.renew(&token, socket)).await,
            Ok(ClientFrame::Ping) => self.send(socket, &ServerFrame::Pong.to_text()).await,
            Ok(ClientFrame::Pong) => Ok(()),
            Ok(ClientFrame::Hello { .. }) => Err(Ending::malformed("hello was said already")),
            Err(BadFrame::UnknownType(name)) => {
                // A name may be as long as a frame.
                let name: String = name.chars().take(NAME_CHARS).collect();
                let reason = format!("there is no frame of type {name:?} in tidings.v1");
                self.send(socket, &ServerFrame::Error { reason: &reason }.to_text()).await
            }
            Err(BadFrame::Malformed(problem)) => Err(Ending::malformed(&problem)),
        }
    }

    async fn acknowledge(&mut self, seq: Seq) -> Result<(), Ending> {
        if seq > self.sent {
            return Err(Ending::malformed("ack is beyond what was sent"));
        }
        if seq <= self.acknowledged {
            return Ok(());
        }
        self.acknowledged = seq;
        let now = self.handler.clock.now();
        let mut deliveries = Vec::new();
        while let Some((id, sent_at)) = self.unacknowledged.front().copied() {
            if id.seq > seq {
                break;
            }
            self.unacknowledged.pop_front();
            deliveries.push(self.delivery(id, sent_at, now));
        }
        if self.unacknowledged.is_empty() {
            // A burst is over: an idle session keeps nothing.
            self.unacknowledged = VecDeque::new();
        }
        let user = self.identity.user.clone();
        let has = Stretch { after: self.began, upto: seq };
        self.handler.acks.note(Acknowledgement { user, has, deliveries }).await;
        Ok(())
    }

    fn delivery(&self, id: NotificationId, sent_at: Timestamp, now: Timestamp) -> Delivery {
        Delivery {
            notification: id,
            user: self.identity.user.clone(),
            channel: Channel::WebSocket,
            target: self.device.as_deref().map_or_else(|| self.id.to_string(), str::to_owned),
            attempt: 1,
            at: now,
            latency_ms: u64::try_from(now.since(sent_at).as_millis()).unwrap_or(u64::MAX),
            outcome: Outcome::Delivered,
            reason: None,
            provider_id: None,
        }
    }

    /// Goes on with a new token of the same user. One that is not valid changes nothing: the session
    /// lasts as long as the token that it has.
    async fn renew<S: SessionSocket>(&mut self, token: &str, socket: &mut S) -> Result<(), Ending> {
        let authenticator = &self.handler.authenticator;
        // The old token may end meanwhile, and so may the node.
        let checked = tokio::time::timeout(
            self.handler.config.hello_timeout,
            authenticator.authenticate(token),
        );
        let identity = match checked.await {
            Ok(Ok(identity)) => identity,
            Ok(Err(refused)) => {
                let error = ServerFrame::Error { reason: &refused.reason };
                return self.send(socket, &error.to_text()).await;
            }
            Err(_) => {
                let reason = "the token could not be checked in time; say it again";
                return self.send(socket, &ServerFrame::Error { reason }.to_text()).await;
            }
        };
        if identity.user != self.identity.user {
            let reason = "the token is another user's".to_owned();
            return Err(Ending::Close(CloseCode::NotAllowed, reason));
        }
        self.identity = identity;
        // It may have been revoked since it was checked: whoever revokes looks at what a session has.
        self.recheck()?;
        let expires_ms = self.identity.expires_at.as_millis();
        let ticket = self.handler.tickets.issue(&self.identity, self.handler.clock.now());
        let renewed = ServerFrame::Renewed { expires_ms, ticket: Some(&ticket) };
        self.send(socket, &renewed.to_text()).await
    }

    async fn mark_read<S: SessionSocket>(
        &mut self,
        selection: Selection,
        socket: &mut S,
    ) -> Result<(), Ending> {
        let user = &self.identity.user;
        let now = self.handler.clock.now();
        match self.handler.store.mark(user, Mark::Read, selection.clone(), now).await {
            // The update comes back to this session too: that is the client's answer.
            Ok(inbox) => {
                let selection = match selection {
                    // What comes after the newest was not marked, and must not look like it.
                    Selection::UpTo(seq) => Selection::UpTo(seq.min(inbox.last_seq)),
                    ids @ Selection::Ids(_) => ids,
                };
                self.handler.pool.broadcast_mark(user, Mark::Read, &selection, &inbox);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "notifications were not marked");
                let reason = "the store is not available; say it again";
                self.send(socket, &ServerFrame::Error { reason }.to_text()).await
            }
        }
    }
}
