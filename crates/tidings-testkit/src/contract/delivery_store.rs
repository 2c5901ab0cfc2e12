//! The rules of `DeliveryStore`, which need the other ports to bring pushes about.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tidings_core::{
    clock::Timestamp,
    delivery::{Channel, Delivery, Outcome},
    device::{Device, PushToken},
    ids::{DeviceId, InboxNumber, NotificationId, Seq, UserId},
    ports::{DuePush, DueRetry, Prune, PushJob, PushSettlement, Renewal},
};
use tokio::task::JoinSet;

use super::{
    Store,
    delivery_log::whole_log_of,
    sample::{ALL, LEASE, acknowledgement, append, at, device, event, fill, has, plan_push, user},
};

async fn claim(store: &dyn Store, now: Timestamp) -> Vec<DuePush> {
    store.claim_due(now, LEASE, ALL).await.expect("claim_due")
}

async fn settle(store: &dyn Store, settlement: PushSettlement) {
    store.settle(vec![settlement]).await.expect("settle");
}

async fn next_due(store: &dyn Store) -> Option<Timestamp> {
    store.next_due().await.expect("next_due")
}

async fn log_of(store: &dyn Store, id: NotificationId) -> Vec<Delivery> {
    whole_log_of(store, id).await
}

fn done(job: &PushJob) -> PushSettlement {
    PushSettlement {
        job: job.clone(),
        deliveries: vec![],
        retries: vec![],
        prunes: vec![],
        renewals: vec![],
    }
}

fn delivery(id: NotificationId, user: &UserId, attempt: u32) -> Delivery {
    Delivery {
        notification: id,
        user: user.clone(),
        channel: Channel::Fcm,
        target: "phone".to_owned(),
        attempt,
        at: at(u64::from(attempt)),
        latency_ms: 12,
        outcome: Outcome::Retrying,
        reason: Some("UNAVAILABLE".to_owned()),
        provider_id: None,
    }
}

fn retry(device: &Device, attempt: u32, at: Timestamp) -> DueRetry {
    DueRetry { device: device.id.clone(), attempt, at }
}

/// Registers Ann's phone and appends an event whose push falls due at 100 ms.
async fn one_push(store: &dyn Store) -> (UserId, Device, NotificationId) {
    let ann = user("ann");
    let phone = device(&ann, "phone", "token", at(0));
    store.put_device(phone.clone()).await.expect("put_device");
    let appended = append(store, vec![plan_push(&event("e1"), &ann, at(100))]).await;
    let id = appended[0].stored[0].id;
    (ann, phone, id)
}

/// A push falls due at its time and not before, once, with all that routing needs.
pub async fn a_push_falls_due_at_its_time(store: &dyn Store) {
    assert_eq!(next_due(store).await, None);
    let (ann, phone, id) = one_push(store).await;
    assert_eq!(next_due(store).await, Some(at(100)));
    assert!(claim(store, at(99)).await.is_empty());
    store.acknowledge(has(&ann, 1)).await.expect("acknowledge");
    let due = claim(store, at(100)).await;
    assert_eq!(due.len(), 1);
    let job = PushJob { notification: id, device: None, leased_until: at(100).after(LEASE) };
    assert_eq!((&due[0].job, due[0].attempt), (&job, 1));
    assert_eq!(due[0].notification.id, id);
    assert_eq!(due[0].notification.event.id.as_str(), "e1");
    assert_eq!(due[0].inbox, store.inbox(&ann).await.expect("inbox"));
    assert_eq!(due[0].inbox.acked_seq, Seq(1));
    assert_eq!(*due[0].devices, [phone]);
    assert!(claim(store, at(100)).await.is_empty(), "it is leased");
}

/// Who has no device when an event is appended, or is not to be pushed to, gets no push.
pub async fn without_a_device_nothing_falls_due(store: &dyn Store) {
    let (ann, ben) = (user("ann"), user("ben"));
    append(store, vec![plan_push(&event("e1"), &ann, at(1))]).await;
    let phone = device(&ann, "phone", "token", at(0));
    store.put_device(phone.clone()).await.expect("put_device");
    fill(store, &ann, &["e2"]).await;
    assert_eq!(next_due(store).await, None);
    // A device that is gone counts no more, whichever way it went.
    store.put_device(device(&ben, "phone", "token", at(1))).await.expect("put_device");
    append(store, vec![plan_push(&event("e3"), &ann, at(1))]).await;
    assert_eq!(next_due(store).await, None);
    assert!(store.remove_device(&ben, &phone.id).await.expect("remove_device"));
    append(store, vec![plan_push(&event("e4"), &ben, at(1))]).await;
    assert_eq!(next_due(store).await, None);
    // And a duplicate falls due once.
    store.put_device(phone).await.expect("put_device");
    let planned = || plan_push(&event("e5"), &ann, at(1));
    append(store, vec![planned(), planned()]).await;
    append(store, vec![planned()]).await;
    assert_eq!(claim(store, at(1)).await.len(), 1);
}

/// The oldest are leased first, no more than asked for.
pub async fn the_oldest_pushes_are_leased_first(store: &dyn Store) {
    let ann = user("ann");
    store.put_device(device(&ann, "phone", "token", at(0))).await.expect("put_device");
    for (id, due) in [("e1", 30), ("e2", 10), ("e3", 20), ("e4", 40)] {
        append(store, vec![plan_push(&event(id), &ann, at(due))]).await;
    }
    let claim = async |now, limit| {
        let due = store.claim_due(at(now), LEASE, limit).await.expect("claim_due");
        let ids = due.iter().map(|it| it.notification.event.id.as_str().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert!(claim(30, 0).await.is_empty());
    assert_eq!(claim(30, 2).await, ["e2", "e3"]);
    assert_eq!(claim(30, 2).await, ["e1"]);
    assert_eq!(next_due(store).await, Some(at(40)));
}

/// A lease that is not settled ends, and the push is due again with the same attempt.
pub async fn a_lease_that_is_not_settled_ends(store: &dyn Store) {
    let (_, _, id) = one_push(store).await;
    assert_eq!(claim(store, at(200)).await.len(), 1);
    let end = at(200).after(LEASE);
    assert_eq!(next_due(store).await, Some(end));
    assert!(claim(store, end.before(Duration::from_millis(1))).await.is_empty());
    let again = claim(store, end).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].job.notification, again[0].attempt), (id, 1));
}

/// A push that is settled never comes back, also when a second worker settles it after its lease.
pub async fn a_settled_push_stays_settled(store: &dyn Store) {
    let (ann, phone, id) = one_push(store).await;
    let due = claim(store, at(100)).await;
    settle(store, done(&due[0].job)).await;
    assert_eq!(next_due(store).await, None);
    let late = PushSettlement {
        deliveries: vec![delivery(id, &ann, 1)],
        retries: vec![retry(&phone, 2, at(150))],
        ..done(&due[0].job)
    };
    settle(store, late).await;
    assert_eq!(next_due(store).await, None, "a late worker's retry does not count");
    assert_eq!(log_of(store, id).await.len(), 1, "its attempt does");
    assert!(claim(store, at(999_999)).await.is_empty());
}

/// A settlement with retries leaves exactly those: per device, at their time, with their attempt.
pub async fn retries_fall_due_per_device(store: &dyn Store) {
    let (ann, phone, id) = one_push(store).await;
    let pad = device(&ann, "pad", "token-2", at(0));
    store.put_device(pad.clone()).await.expect("put_device");
    let due = claim(store, at(100)).await;
    assert_eq!(*due[0].devices, [pad.clone(), phone.clone()]);
    let settlement = PushSettlement {
        deliveries: vec![delivery(id, &ann, 1)],
        retries: vec![retry(&phone, 2, at(300)), retry(&pad, 2, at(200))],
        ..done(&due[0].job)
    };
    settle(store, settlement).await;
    assert_eq!(next_due(store).await, Some(at(200)));

    let due = claim(store, at(200)).await;
    assert_eq!(due.len(), 1);
    let leased_until = at(200).after(LEASE);
    let job = PushJob { notification: id, device: Some(pad.id.clone()), leased_until };
    assert_eq!((&due[0].job, due[0].attempt), (&job, 2));
    assert_eq!(*due[0].devices, *std::slice::from_ref(&pad));
    // The same device again: settling and trying again have the same name.
    let settlement = PushSettlement { retries: vec![retry(&pad, 3, at(400))], ..done(&due[0].job) };
    settle(store, settlement).await;

    store.remove_device(&ann, &phone.id).await.expect("remove_device");
    let due = claim(store, at(400)).await;
    let summary: Vec<_> = due.iter().map(|it| (&it.job.device, it.attempt)).collect();
    assert_eq!(summary, [(&Some(phone.id), 2), (&Some(pad.id.clone()), 3)]);
    assert!(due[0].devices.is_empty(), "the device is gone");
    assert_eq!(*due[1].devices, [pad]);
    let all = due.iter().map(|it| done(&it.job)).collect();
    store.settle(all).await.expect("settle");
    assert_eq!(next_due(store).await, None);
}

/// Of many devices a retry finds its own, also when all of them are tried again at once.
pub async fn a_retry_of_one_device_out_of_many_finds_that_one(store: &dyn Store) {
    let (_, phone, _) = one_push(store).await;
    let mut devices = vec![phone];
    for number in 0..9 {
        let id = format!("z{number}");
        let it = device(&user("ann"), &id, &format!("token-{number}"), at(number));
        store.put_device(it.clone()).await.expect("put_device");
        devices.push(it);
    }
    append(store, vec![plan_push(&event("e2"), &user("ann"), at(500))]).await;
    let due = claim(store, at(100)).await;
    assert_eq!(*due[0].devices, devices);
    let retries = devices.iter().map(|it| retry(it, 2, at(300))).collect();
    settle(store, PushSettlement { retries, ..done(&due[0].job) }).await;
    // The second event's push is claimed with them: it is for all devices.
    let due = claim(store, at(500)).await;
    let found: Vec<_> = due.iter().map(|it| it.devices.to_vec()).collect();
    let mut expected: Vec<_> = devices.iter().map(|it| vec![it.clone()]).collect();
    expected.push(devices);
    assert_eq!(found, expected);
}

/// A push of one device that is put off has another time and attempt; nothing happens under a lease that
/// has ended, and of two settlements under one lease the first counts.
pub async fn a_push_that_is_put_off_moves_under_its_lease_only(store: &dyn Store) {
    let (ann, phone, id) = one_push(store).await;
    let due = claim(store, at(100)).await;
    let tried = PushSettlement { retries: vec![retry(&phone, 2, at(200))], ..done(&due[0].job) };
    settle(store, tried).await;
    let old = claim(store, at(200)).await[0].job.clone();
    let end = at(200).after(LEASE);
    let current = claim(store, end).await[0].job.clone();
    let put_off = |job: &PushJob, attempt, at| PushSettlement {
        retries: vec![retry(&phone, attempt, at)],
        ..done(job)
    };
    settle(store, put_off(&old, 7, at(300))).await;
    assert_eq!(next_due(store).await, Some(end.after(LEASE)), "the second lease stands");
    let at_last = end.after(Duration::from_millis(5));
    let twice = vec![put_off(&old, 8, at(1)), put_off(&current, 2, at_last), done(&current)];
    store.settle(twice).await.expect("settle");
    let again = claim(store, at_last).await.remove(0);
    assert_eq!((&again.job.device, again.attempt), (&Some(phone.id.clone()), 2));
    assert_eq!(*again.devices, *std::slice::from_ref(&phone));
    assert!(log_of(store, id).await.is_empty(), "nothing was tried");
    // With an attempt in the log it moves just so.
    let tried = PushSettlement {
        deliveries: vec![delivery(id, &ann, 2)],
        ..put_off(&again.job, 3, again.job.leased_until)
    };
    settle(store, tried).await;
    let due = claim(store, again.job.leased_until).await.remove(0);
    assert_eq!((due.attempt, log_of(store, id).await.len()), (3, 1));
    settle(store, done(&due.job)).await;
    assert_eq!(next_due(store).await, None);
}

const MANY_DEVICES: usize = 10_000;

/// A user with ten thousand devices is settled in one go, and so is the next attempt of each.
pub async fn a_settlement_may_be_of_ten_thousand_devices(store: &dyn Store) {
    let (ann, _, id) = one_push(store).await;
    let due = claim(store, at(100)).await;
    let names: Vec<_> = (0..MANY_DEVICES).map(|number| format!("d{number:05}")).collect();
    let device_id = |name: &String| DeviceId::new(name).expect("a device id");
    let attempts = |attempt| {
        let of = |name: &String| Delivery { target: name.clone(), ..delivery(id, &ann, attempt) };
        names.iter().map(of).collect::<Vec<_>>()
    };
    let retries =
        names.iter().map(|it| DueRetry { device: device_id(it), attempt: 2, at: at(300) });
    let prunes = names.iter().map(|it| Prune { device: device_id(it), registered_at: at(0) });
    let settlement = PushSettlement {
        deliveries: attempts(1),
        retries: retries.collect(),
        prunes: prunes.collect(),
        ..done(&due[0].job)
    };
    settle(store, settlement).await;
    let due = claim(store, at(300)).await;
    let claimed: Vec<_> = due.iter().filter_map(|it| it.job.device.as_ref()).collect();
    assert!(claimed.iter().map(|it| it.as_str()).eq(&names), "{} were claimed", due.len());
    // Half of them are put off, half of them done with.
    let settlements = (0..).zip(&due).zip(attempts(2)).map(|((number, due), attempt)| {
        let retries = due.job.device.iter().filter(|_| number % 2 == 0);
        let retries = retries.map(|it| DueRetry { device: it.clone(), attempt: 2, at: at(400) });
        PushSettlement { deliveries: vec![attempt], retries: retries.collect(), ..done(&due.job) }
    });
    store.settle(settlements.collect()).await.expect("settle");
    assert_eq!(claim(store, at(400)).await.len(), MANY_DEVICES / 2);
    assert_eq!(log_of(store, id).await.len(), 2 * MANY_DEVICES);
}

/// A dead token's device goes, unless it has been registered again since.
pub async fn a_prune_spares_a_device_that_was_registered_again(store: &dyn Store) {
    let (ann, phone, _) = one_push(store).await;
    let due = claim(store, at(100)).await;
    let prune = |device: &DeviceId, registered_at| PushSettlement {
        prunes: vec![Prune { device: device.clone(), registered_at }],
        ..done(&due[0].job)
    };
    let again = Device { registered_at: at(50), ..phone.clone() };
    store.put_device(again.clone()).await.expect("put_device");
    settle(store, prune(&phone.id, phone.registered_at)).await;
    assert_eq!(store.list_devices(&ann).await.expect("list_devices"), [again]);
    settle(store, prune(&phone.id, at(50))).await;
    assert!(store.list_devices(&ann).await.expect("list_devices").is_empty());
    append(store, vec![plan_push(&event("e2"), &ann, at(1))]).await;
    assert_eq!(next_due(store).await, None, "nobody to push to");
}

/// A push that met a dead token is due again if the device has another by then, under the lease only,
/// and not if it has the same, or is gone.
pub async fn a_dead_token_is_tried_again_only_if_the_device_has_another(store: &dyn Store) {
    let (_, phone, _) = one_push(store).await;
    let settle_dead = async |due: &DuePush, dead: &PushToken, now: u64| {
        let retry = DueRetry { device: phone.id.clone(), attempt: due.attempt + 1, at: at(now) };
        let renewals = vec![Renewal { retry, dead: dead.clone() }];
        let prunes = vec![Prune { device: phone.id.clone(), registered_at: at(0) }];
        settle(store, PushSettlement { prunes, renewals, ..done(&due.job) }).await;
    };
    let second = PushToken::new("second".to_owned()).expect("a token");
    let first_job = claim(store, at(100)).await;
    let again = Device { token: second.clone(), registered_at: at(50), ..phone.clone() };
    store.put_device(again.clone()).await.expect("put_device");
    settle_dead(&first_job[0], &phone.token, 200).await;
    let due = claim(store, at(200)).await;
    assert_eq!((due.len(), due[0].attempt, &due[0].devices[..]), (1, 2, &[again.clone()][..]));
    // Who comes late with the old lease makes nothing due.
    settle_dead(&first_job[0], &phone.token, 200).await;
    assert!(claim(store, at(200)).await.is_empty(), "due again, and leased to another");
    // Registered again, with what is dead: that is the end of it.
    let same = Device { registered_at: at(60), ..again };
    store.put_device(same).await.expect("put_device");
    settle_dead(&due[0], &second, 300).await;
    assert_eq!(next_due(store).await, None);
    // And so it is without a device.
    let (ben, tablet) = (user("ben"), device(&user("ben"), "tablet", "a-tablet", at(0)));
    store.put_device(tablet.clone()).await.expect("put_device");
    append(store, vec![plan_push(&event("e9"), &ben, at(1))]).await;
    let due = claim(store, at(300)).await;
    store.remove_device(&ben, &tablet.id).await.expect("remove_device");
    let retry = DueRetry { device: tablet.id, attempt: 2, at: at(300) };
    let renewals = vec![Renewal { retry, dead: second }];
    settle(store, PushSettlement { renewals, ..done(&due[0].job) }).await;
    assert_eq!(next_due(store).await, None);
}

/// The log of a notification is complete, whole and in order, whoever wrote to it.
pub async fn deliveries_are_listed_in_order(store: &dyn Store) {
    let (ann, _, id) = one_push(store).await;
    let other = fill(store, &ann, &["e2"]).await[0];
    let live = Delivery {
        channel: Channel::WebSocket,
        target: "session".to_owned(),
        outcome: Outcome::Delivered,
        reason: None,
        provider_id: Some("é".to_owned()),
        latency_ms: u64::from(u32::MAX),
        ..delivery(id, &ann, 1)
    };
    let acked = vec![live.clone(), delivery(other, &ann, 7)];
    store.acknowledge(Arc::new([acknowledgement(&ann, (0, 1), acked)])).await.expect("acknowledge");
    let job = PushJob { notification: id, device: None, leased_until: at(0) };
    // Times run backwards here: the order is that of writing.
    let pushed = vec![delivery(id, &ann, 9), delivery(id, &ann, 2)];
    settle(store, PushSettlement { deliveries: pushed.clone(), ..done(&job) }).await;

    let expected = [live, pushed[0].clone(), pushed[1].clone()];
    assert_eq!(log_of(store, id).await, expected);
    assert_eq!(log_of(store, other).await, [delivery(other, &ann, 7)]);
    let nobody = NotificationId { inbox: InboxNumber(id.inbox.0 + 99), seq: Seq(1) };
    assert!(log_of(store, nobody).await.is_empty());
}

/// A worker that comes back after its lease has ended, when another has claimed the push, changes
/// nothing but the log: the attempt was made.
pub async fn a_settlement_under_an_old_lease_changes_nothing_but_the_log(store: &dyn Store) {
    let (ann, phone, id) = one_push(store).await;
    let old = claim(store, at(100)).await.remove(0).job;
    let end = at(100).after(LEASE);
    let current = claim(store, end).await.remove(0).job;
    assert_ne!(old, current);
    let late = |number| PushSettlement {
        deliveries: vec![delivery(id, &ann, number)],
        retries: vec![retry(&phone, 2, at(150))],
        ..done(&old)
    };
    settle(store, late(1)).await;
    assert_eq!(next_due(store).await, Some(end.after(LEASE)), "the second lease stands");
    let settlement = PushSettlement {
        deliveries: vec![delivery(id, &ann, 2)],
        retries: vec![retry(&phone, 2, end.after(LEASE))],
        ..done(&current)
    };
    settle(store, settlement).await;
    settle(store, late(3)).await;
    assert_eq!(next_due(store).await, Some(end.after(LEASE)));
    let due = claim(store, end.after(LEASE)).await.remove(0);
    assert_eq!((&due.job.device, due.attempt), (&Some(phone.id), 2));
    let logged: Vec<_> = log_of(store, id).await.iter().map(|it| it.attempt).collect();
    assert_eq!(logged, [1, 2, 3]);
}

const PUSHES: usize = 60;

/// Of many workers that claim at once, each gets pushes of its own, and together they get all.
pub async fn claims_of_several_workers_are_disjoint(stores: &[Arc<dyn Store>]) {
    let ann = user("ann");
    stores[0].put_device(device(&ann, "phone", "token", at(0))).await.expect("put_device");
    let planned = (0..PUSHES).map(|n| plan_push(&event(&format!("e{n}")), &ann, at(n as u64)));
    append(&*stores[0], planned.collect()).await;
    let mut workers = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(&stores[number % stores.len()]);
        workers.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let due = store.claim_due(at(1_000), LEASE, 4).await.expect("claim_due");
                if due.is_empty() {
                    return claimed;
                }
                claimed.extend(due.into_iter().map(|it| it.job.notification));
            }
        });
    }
    let claimed = workers.join_all().await.concat();
    let distinct: BTreeSet<_> = claimed.iter().collect();
    assert_eq!(distinct.len(), claimed.len(), "one push for two workers");
    // A worker may come away with nothing while others are in the middle of it, not for good.
    let left = claim(&*stores[0], at(1_000)).await.len();
    assert_eq!(claimed.len() + left, PUSHES);
}
