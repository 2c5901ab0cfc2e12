//! One case: every operation is done to the store and to the model, then both are compared.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use tidings_core::{
    batch::Recipient,
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    device::{Device, DeviceDetails, Environment, WebPushKeys},
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    inbox::Selection,
    notification::Notification,
    ports::{DuePush, DueRetry, Prune, PushSettlement},
};

use super::{
    naive::{Job, Model, Registered, Row},
    ops::{Marked, Op, PlannedOp, Settled, USERS},
};
use crate::contract::{
    Store,
    delivery_log::whole_log_of,
    sample::{ALL, at, batch, device, has_between, plan, titled, user},
};

const LEASE_MS: u64 = 60;

pub(super) struct Run<'a> {
    store: &'a dyn Store,
    /// Makes the names of this case its own.
    case: usize,
    model: Model,
    now: u64,
    appends: usize,
    inboxes: BTreeMap<usize, InboxNumber>,
}

fn same<T: PartialEq + Debug>(what: &str, store: &T, model: &T) -> Result<(), String> {
    if store == model {
        return Ok(());
    }
    Err(format!("{what}: the store says {store:?}, the model {model:?}"))
}

impl<'a> Run<'a> {
    /// Starts a case. Pushes that the case before left waiting are settled.
    pub(super) async fn new(store: &'a dyn Store, case: usize) -> Self {
        let end_of_time = at(0).after(Duration::MAX);
        let left = store.claim_due(end_of_time, Duration::ZERO, ALL).await;
        let left = left.expect("claim_due").into_iter();
        let done = left.map(|it| settlement(&it)).collect();
        store.settle(done).await.expect("settle");
        Self { store, case, model: Model::default(), now: 0, appends: 0, inboxes: BTreeMap::new() }
    }

    fn user(&self, number: usize) -> UserId {
        user(&format!("c{}-u{number}", self.case))
    }

    fn device(&self, (owner, number): (usize, usize), registered: Registered) -> Device {
        let Registered { token, make, at: registered_at } = registered;
        let token = format!("c{}-t{token}", self.case);
        let made = device(&self.user(owner), &device_name(number), &token, at(registered_at));
        // Bits of the make say what the app tells of itself.
        let has = |bit: usize| make & bit != 0;
        let text = |text: &str| Some(format!("{text}{make}"));
        Device {
            environment: if has(1) { Environment::Sandbox } else { Environment::Production },
            details: DeviceDetails {
                locale: text("l").filter(|_| has(1)),
                time_zone: text("z").filter(|_| has(2)),
                app_version: text("v").filter(|_| !has(1)),
            },
            web_push: has(2).then_some(WebPushKeys { p256dh: [4; 65], auth: [7; 16] }),
            ..made
        }
    }

    pub(super) async fn apply(&mut self, op: &Op) -> Result<(), String> {
        // Every operation has a time of its own, so that the first can be told from the second.
        self.now += 1;
        match op {
            Op::Append(planned) => self.append(planned).await?,
            Op::Mark(user, mark, marked) => {
                let selection = self.selection(marked);
                let owner = self.user(*user);
                let marked_at = at(self.now);
                let state = self.store.mark(&owner, *mark, selection, marked_at).await;
                let state = state.expect("mark");
                self.model.mark(*user, *mark, marked, self.now);
                same("mark's answer", &state, &self.model.state(*user))?;
            }
            Op::Acknowledge(user, after, upto) => {
                let owner = self.user(*user);
                let noted = self.store.acknowledge(has_between(&owner, *after, *upto)).await;
                noted.expect("acknowledge");
                self.model.acknowledge(*user, *after, *upto);
            }
            Op::PutDevice { user, device, token, make } => {
                let registered = Registered { token: *token, make: *make, at: self.now };
                let put = self.device((*user, *device), registered);
                self.store.put_device(put).await.expect("put_device");
                self.model.put_device(*user, *device, registered);
            }
            Op::RemoveDevice { user, device } => {
                let (owner, id) = (self.user(*user), device_id(*device));
                let removed = self.store.remove_device(&owner, &id).await;
                let expected = self.model.devices.remove(&(*user, *device)).is_some();
                same("remove_device", &removed.expect("remove_device"), &expected)?;
            }
            Op::Push(settled) => self.push(settled).await?,
            Op::Pass(millis) => self.now += millis,
        }
        Ok(())
    }

    async fn append(&mut self, planned: &[PlannedOp]) -> Result<(), String> {
        let mut events = Vec::new();
        let mut expected = Vec::new();
        for (event, recipients) in planned {
            self.appends += 1;
            let title = format!("version {}", self.appends);
            let mut planned = plan(&titled(&format!("c{}-e{event}", self.case), &title), []);
            planned.recipients.extend(recipients.iter().map(|(user, wait)| Recipient {
                user: self.user(*user),
                push_at: wait.map(|wait| at(self.now + wait)),
            }));
            events.push(planned);
            let new = self.model.append(*event, &title, recipients, self.now);
            expected.push((new, recipients.len() - new, self.model.titles[event].clone()));
        }
        let appended = self.store.append(batch(events).into(), at(self.now)).await.expect("append");
        for stored in appended.iter().flat_map(|it| &it.stored) {
            let number = (0..USERS).find(|number| self.user(*number) == stored.user);
            let number = number.ok_or("an append answered for a stranger")?;
            let inbox = self.inboxes.entry(number).or_insert(stored.id.inbox);
            same("inbox number", &stored.id.inbox, inbox)?;
        }
        let answers = appended.iter();
        let answers: Vec<_> =
            answers.map(|it| (it.stored.len(), it.duplicates, it.event.title.clone())).collect();
        same("append's answer", &answers, &expected)
    }

    fn selection(&self, marked: &Marked) -> Selection {
        match marked {
            Marked::UpTo(seq) => Selection::UpTo(Seq(*seq)),
            Marked::Ids(ids) => {
                let known = ids.iter().filter_map(|(user, seq)| self.id(*user, *seq));
                Selection::Ids(known.collect())
            }
        }
    }

    fn id(&self, user: usize, seq: u64) -> Option<NotificationId> {
        let inbox = *self.inboxes.get(&user)?;
        Some(NotificationId { inbox, seq: Seq(seq) })
    }

    async fn push(&mut self, settled: &[Settled]) -> Result<(), String> {
        let lease = Duration::from_millis(LEASE_MS);
        let claimed = self.store.claim_due(at(self.now), lease, ALL).await.expect("claim_due");
        let mut expected: Vec<_> = self.model.due.iter().map(|(job, due)| (due.0, *job)).collect();
        expected.retain(|(due, _)| *due <= self.now);
        expected.sort_unstable();
        let mut due_before = 0;
        let mut jobs = Vec::new();
        for due in &claimed {
            let job = self.job_of(due)?;
            let (due_at, attempt) =
                self.model.due.get(&job).copied().ok_or("a push that is not due")?;
            if due_at < due_before {
                return Err(format!("{job:?} is claimed after one that fell due later"));
            }
            due_before = due_at;
            same("attempt", &due.attempt, &attempt)?;
            same("inbox of a push", &due.inbox, &self.model.state(job.0))?;
            let row = &self.model.inboxes[&job.0].rows[usize::try_from(job.1 - 1).expect("small")];
            same("notification of a push", &row_of(&due.notification), &self.shown(row))?;
            let of_user = self.devices(job.0).into_iter();
            let devices: Vec<_> =
                of_user.filter(|it| job.2.is_none_or(|only| it.id == device_id(only))).collect();
            same("devices of a push", &due.devices.to_vec(), &devices)?;
            jobs.push((due_at, job));
        }
        jobs.sort_unstable();
        same("claimed pushes", &jobs, &expected)?;
        for (_, job) in jobs {
            self.model.due.entry(job).and_modify(|due| due.0 = self.now + LEASE_MS);
        }
        let mut settlements = Vec::new();
        for (due, how) in claimed.iter().zip(settled.iter().cycle()) {
            settlements.extend(self.settle(due, *how)?);
        }
        self.store.settle(settlements).await.expect("settle");
        Ok(())
    }

    fn job_of(&self, due: &DuePush) -> Result<Job, String> {
        let id = due.job.notification;
        let owner = self.inboxes.iter().find(|(_, inbox)| **inbox == id.inbox);
        let (owner, _) = owner.ok_or("a push of a stranger")?;
        let device = due.job.device.as_ref();
        Ok((*owner, id.seq.0, device.map(device_number)))
    }

    /// Settles in the model, and says how to do it in the store.
    fn settle(&mut self, due: &DuePush, how: Settled) -> Result<Option<PushSettlement>, String> {
        let job = self.job_of(due)?;
        let mut settlement = settlement(due);
        match how {
            Settled::Not => return Ok(None),
            Settled::Done => {}
            Settled::Retry(wait) => {
                settlement.retries = due
                    .devices
                    .iter()
                    .map(|device| DueRetry {
                        device: device.id.clone(),
                        attempt: due.attempt + 1,
                        at: at(self.now + wait),
                    })
                    .collect();
            }
            Settled::Prune | Settled::PruneStale => {
                let stale = u64::from(matches!(how, Settled::PruneStale));
                settlement.prunes.extend(due.devices.first().map(|device| Prune {
                    device: device.id.clone(),
                    registered_at: device.registered_at.before(Duration::from_millis(stale)),
                }));
            }
        }
        self.model.due.remove(&job);
        self.model.log.entry((job.0, job.1)).or_default().push(due.attempt);
        for retry in &settlement.retries {
            let key = (job.0, job.1, Some(device_number(&retry.device)));
            let due_at = retry.at.since(at(0)).as_millis();
            let due_at = u64::try_from(due_at).expect("small");
            self.model.due.insert(key, (due_at, retry.attempt));
        }
        for prune in &settlement.prunes {
            let key = (job.0, device_number(&prune.device));
            let same_life = |it: &Registered| at(it.at) == prune.registered_at;
            if self.model.devices.get(&key).is_some_and(same_life) {
                self.model.devices.remove(&key);
            }
        }
        Ok(Some(settlement))
    }

    fn devices(&self, owner: usize) -> Vec<Device> {
        let all = self.model.devices.iter();
        all.filter(|((user, _), _)| *user == owner)
            .map(|(key, registered)| self.device(*key, *registered))
            .collect()
    }

    /// A row of the model as [`row_of`] shows one of the store.
    fn shown(&self, row: &Row) -> ShownRow {
        let time = |millis: Option<u64>| millis.map(at);
        let title = self.model.titles[&row.event].clone();
        (title, at(row.created), time(row.seen), time(row.read), time(row.archived))
    }

    pub(super) async fn compare(&self) -> Result<(), String> {
        for number in 0..USERS {
            let user = self.user(number);
            let state = self.store.inbox(&user).await.expect("inbox");
            same("inbox", &state, &self.model.state(number))?;
            let rows = self.model.inboxes.get(&number).map_or(&[][..], |it| &it.rows);
            let listed = self.store.list_after(&user, Seq::ZERO, ALL).await.expect("list_after");
            let listed: Vec<_> = listed.iter().map(|it| (it.seq().0, row_of(it))).collect();
            let mut expected: Vec<_> = (1..).zip(rows.iter().map(|row| self.shown(row))).collect();
            same("list_after", &listed, &expected)?;
            expected.retain(|(_, row)| row.4.is_none());
            expected.reverse();
            let listed = self.store.list_newest(&user, None, ALL).await.expect("list_newest");
            let listed: Vec<_> = listed.iter().map(|it| (it.seq().0, row_of(it))).collect();
            same("list_newest", &listed, &expected)?;
            let devices = self.store.list_devices(&user).await.expect("list_devices");
            same("list_devices", &devices, &self.devices(number))?;
            let others = self.store.count_other_devices(&user, &device_id(0)).await;
            let expected = devices.iter().filter(|it| it.id != device_id(0)).count() as u64;
            same("count_other_devices", &others.expect("count_other_devices"), &expected)?;
        }
        let next = self.store.next_due().await.expect("next_due");
        let expected = self.model.due.values().map(|due| at(due.0)).min();
        same("next_due", &next, &expected)?;
        for ((user, seq), attempts) in &self.model.log {
            let id = self.id(*user, *seq).expect("a known inbox");
            let listed = whole_log_of(self.store, id).await;
            let listed: Vec<_> = listed.iter().map(|it| it.attempt).collect();
            same("list_deliveries", &listed, attempts)?;
        }
        Ok(())
    }
}

/// Title, created, seen, read, archived.
type ShownRow = (String, Timestamp, Option<Timestamp>, Option<Timestamp>, Option<Timestamp>);

fn row_of(notification: &Notification) -> ShownRow {
    let state = notification.state;
    let title = notification.event.title.clone();
    (title, notification.created_at, state.seen_at, state.read_at, state.archived_at)
}

fn device_name(number: usize) -> String {
    format!("d{number}")
}

fn device_id(number: usize) -> DeviceId {
    DeviceId::new(&device_name(number)).expect("a device id")
}

fn device_number(id: &DeviceId) -> usize {
    let number = id.as_str().strip_prefix('d').and_then(|it| it.parse().ok());
    number.expect("a device id made here")
}

/// A push that is done with, and a line in the log for it.
fn settlement(due: &DuePush) -> PushSettlement {
    let delivery = Delivery {
        notification: due.job.notification,
        user: due.notification.user.clone(),
        channel: Channel::Fcm,
        target: String::new(),
        attempt: due.attempt,
        at: due.notification.created_at,
        latency_ms: 0,
        outcome: Outcome::Skipped,
        reason: None,
        provider_id: None,
    };
    PushSettlement {
        job: due.job.clone(),
        deliveries: vec![delivery],
        retries: vec![],
        prunes: vec![],
        renewals: vec![],
    }
}
