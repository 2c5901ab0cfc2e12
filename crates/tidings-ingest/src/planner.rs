//! From an event to the people who are told of it.

use std::sync::Arc;

use tidings_core::{
    batch::PlannedEvent,
    clock::Clock,
    event::{Audience, Event, IncomingEvent},
    fan_out::{FanOut, NewFanOut},
    follow::Hidden,
    ids::{GraphId, UserId},
    plan::plan_event,
    ports::{Cursor, GraphError, Presence, SocialGraphStore},
    route::RoutingPolicy,
};

use crate::{
    follow_events::{EdgeChange, EdgeChanger, FollowEvents, FollowListener},
    outcome::IntakeError,
};

/// How events are planned.
#[derive(Debug, Clone)]
pub struct PlannerConfig {
    /// When pushes fall due.
    pub routing: RoutingPolicy,
    /// Followers that are read and stored at a time.
    pub page: usize,
}

/// Works out who is told of an event. Cloning is cheap.
#[derive(Clone)]
pub struct Planner {
    config: PlannerConfig,
    graph: Arc<dyn SocialGraphStore>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
    follow_events: Arc<EdgeChanger>,
}

impl Planner {
    /// A planner that asks `graph` who follows, blocks and mutes.
    pub fn new(
        config: PlannerConfig,
        graph: Arc<dyn SocialGraphStore>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let follow_events = Arc::new(EdgeChanger::new(FollowEvents::default()));
        Self { config, graph, presence, clock, follow_events }
    }

    /// The same, with events that make and end follows before they are planned.
    #[must_use]
    pub fn with_follow_events(self, events: FollowEvents) -> Self {
        Self { follow_events: Arc::new(EdgeChanger::new(events)), ..self }
    }

    /// The same, where `listener` hears of each follower whose follows an event has changed.
    #[must_use]
    pub fn with_follow_events_heard(self, events: FollowEvents, listener: FollowListener) -> Self {
        let follow_events = EdgeChanger::new(events).heard_by(listener);
        Self { follow_events: Arc::new(follow_events), ..self }
    }

    /// The graph that is asked.
    #[must_use]
    pub fn graph(&self) -> GraphId {
        self.graph.id()
    }

    /// Plans an event for the users that it names, or for the first page of the followers; if there
    /// are more, with a fan-out that tells the rest.
    ///
    /// Users who block the actor, are blocked by the actor, or mute the actor now are left out. An event
    /// that makes or ends a follow does so first; one that ends a follow tells nobody.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Graph`].
    pub async fn plan(&self, incoming: &IncomingEvent) -> Result<PlannedEvent, IntakeError> {
        match &incoming.audience {
            Audience::Users(users) => {
                let changed = self.follow_events.change(&*self.graph, incoming).await;
                let changed = changed.map_err(|error| IntakeError::Graph(Arc::new(error)))?;
                if changed == Some(EdgeChange::Unfollow) {
                    return self.plan_users(&incoming.event, None, &[]).await;
                }
                let actor = incoming.event.actor.as_ref();
                self.plan_users(&incoming.event, actor, users).await
            }
            Audience::FollowersOf(followee) => {
                let (mut planned, next) =
                    self.plan_followers(&incoming.event, followee, None, self.config.page).await?;
                let (graph, followee) = (self.graph.id(), followee.clone());
                planned.fan_out = next.map(|cursor| NewFanOut { graph, followee, cursor });
                Ok(planned)
            }
        }
    }

    /// Followers that are read at a time.
    pub(crate) fn page(&self) -> usize {
        self.config.page
    }

    /// Plans the page of a fan-out that begins at `cursor`, of up to `limit` followers, and says where the
    /// one after it begins.
    ///
    /// A cursor that the graph does not know, because it was made before the graph's format changed,
    /// leads to the first page again: whoever was told already is not told twice.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Graph`].
    pub async fn plan_page(
        &self,
        fan_out: &FanOut,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<(PlannedEvent, Option<Cursor>), IntakeError> {
        let FanOut { id, event, followee, .. } = fan_out;
        match self.plan_followers(event, followee, Some(cursor), limit).await {
            Err(IntakeError::Graph(cause)) if matches!(*cause, GraphError::BadCursor) => {
                tracing::warn!(
                    fan_out = id.0,
                    "the graph does not know the place that a fan-out had come to: it begins again"
                );
                self.plan_followers(event, followee, None, limit).await
            }
            planned => planned,
        }
    }

    async fn plan_followers(
        &self,
        event: &Arc<Event>,
        followee: &UserId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<(PlannedEvent, Option<Cursor>), IntakeError> {
        let page = self.graph.get_followers(followee, cursor, limit).await;
        let page = page.map_err(|error| IntakeError::Graph(Arc::new(error)))?;
        let users: Vec<_> = page.items.into_iter().map(|follow| follow.follower).collect();
        // An event for someone's followers is that person's doing unless it names another.
        let actor = event.actor.as_ref().unwrap_or(followee);
        Ok((self.plan_users(event, Some(actor), &users).await?, page.next))
    }

    async fn plan_users(
        &self,
        event: &Arc<Event>,
        actor: Option<&UserId>,
        users: &[UserId],
    ) -> Result<PlannedEvent, IntakeError> {
        let hidden = match actor {
            Some(actor) => self.graph.hidden_from(actor, users).await,
            None => Ok(Hidden::Nobody),
        };
        let hidden = hidden.map_err(|error| IntakeError::Graph(Arc::new(error)))?;
        let told = users.iter().enumerate().filter(|(place, _)| !hidden.contains(*place));
        let is_online = |user: &UserId| self.presence.is_online(user);
        let now = self.clock.now();
        let told = told.map(|(_, user)| user.clone());
        Ok(plan_event(event, told, is_online, &self.config.routing, now))
    }
}
