//! The rules of `DeviceStore`.

use tidings_core::{
    device::{Device, DeviceDetails, Environment, Platform, PushToken, WebPushKeys},
    ids::{DeviceId, UserId},
    ports::DeviceStore,
};

use super::sample::{at, device, user};

async fn put(store: &dyn DeviceStore, device: &Device) {
    store.put_device(device.clone()).await.expect("put_device");
}

async fn list(store: &dyn DeviceStore, user: &UserId) -> Vec<Device> {
    store.list_devices(user).await.expect("list_devices")
}

/// Devices are listed by id, each with what it was registered with, and each user's own only.
pub async fn devices_are_listed_by_id(store: &dyn DeviceStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let phone = device(&ann, "phone", "t1", at(1));
    let pad = Device {
        platform: Platform::Apns,
        app: "com.example.app".to_owned(),
        ..device(&ann, "pad", "t2", at(2))
    };
    // The same id on another user's side is another device.
    let other = device(&ben, "phone", "t3", at(3));
    for device in [&phone, &pad, &other] {
        put(store, device).await;
    }
    assert_eq!(list(store, &ann).await, [pad, phone]);
    assert_eq!(list(store, &ben).await, [other]);
    assert!(list(store, &user("nobody")).await.is_empty());
}

/// A device comes back with everything that it was registered with; what is not there stays away.
pub async fn everything_of_a_device_is_kept(store: &dyn DeviceStore) {
    let ann = user("ann");
    let phone = Device {
        platform: Platform::Apns,
        environment: Environment::Sandbox,
        details: DeviceDetails {
            locale: Some("zh-Hant-TW".to_owned()),
            time_zone: Some("Asia/Taipei".to_owned()),
            // Any text that an app may call a version.
            app_version: Some("1.0 \u{10FFFF} é\0".to_owned()),
        },
        ..device(&ann, "a-phone", "t1", at(1))
    };
    let mut p256dh = [0; 65];
    let mut auth = [0; 16];
    (0..).zip(p256dh.iter_mut().chain(&mut auth)).for_each(|(number, byte)| *byte = number);
    let browser = Device {
        platform: Platform::WebPush,
        token: PushToken::new(format!("https://push.example/{}", "x".repeat(2_000)))
            .expect("a token"),
        web_push: Some(WebPushKeys { p256dh, auth }),
        details: DeviceDetails { locale: Some("de".to_owned()), ..DeviceDetails::default() },
        ..device(&ann, "b-browser", "unused", at(2))
    };
    let plain = device(&ann, "c-plain", "t3", at(3));
    for device in [&phone, &browser, &plain] {
        put(store, device).await;
    }
    assert_eq!(list(store, &ann).await, [phone, browser.clone(), plain]);
    // What is registered anew without it has lost it.
    let bare = device(&ann, "b-browser", "t2", at(4));
    put(store, &bare).await;
    assert_eq!(list(store, &ann).await[1], bare);
    put(store, &browser).await;
    assert_eq!(list(store, &ann).await[1], browser);
}

/// The others of a user are counted, whichever way they came and went.
pub async fn other_devices_are_counted(store: &dyn DeviceStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let count = async |user: &UserId, id: &str| {
        let id = DeviceId::new(id).expect("a device id");
        store.count_other_devices(user, &id).await.expect("count_other_devices")
    };
    assert_eq!(count(&ann, "a").await, 0, "nobody knows her yet");
    for (id, token) in [("a", "t1"), ("b", "t2"), ("c", "t3"), ("c", "t4")] {
        put(store, &device(&ann, id, token, at(1))).await;
    }
    put(store, &device(&ben, "a", "t5", at(1))).await;
    assert_eq!((count(&ann, "a").await, count(&ann, "new").await), (2, 3));
    assert_eq!((count(&ben, "a").await, count(&ben, "c").await), (0, 1));
    // One is removed, another's token moves away.
    assert!(store.remove_device(&ann, &device(&ann, "a", "t", at(1)).id).await.expect("remove"));
    put(store, &device(&ben, "b", "t2", at(2))).await;
    assert_eq!((count(&ann, "new").await, count(&ann, "c").await), (1, 0));
    assert_eq!(count(&ben, "new").await, 2);
}

/// Registering again replaces token, app and time.
pub async fn registering_again_refreshes_a_device(store: &dyn DeviceStore) {
    let ann = user("ann");
    put(store, &device(&ann, "phone", "old", at(1))).await;
    let fresh = Device {
        platform: Platform::Apns,
        app: "other".to_owned(),
        ..device(&ann, "phone", "new", at(2))
    };
    put(store, &fresh).await;
    assert_eq!(list(store, &ann).await, [fresh]);
}

/// A token that another device has moves to the one that registers it, and the other is gone.
pub async fn a_token_moves_between_users(store: &dyn DeviceStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    put(store, &device(&ann, "phone", "token", at(1))).await;
    put(store, &device(&ann, "pad", "pad", at(1))).await;
    let of_ben = device(&ben, "phone", "token", at(2));
    put(store, &of_ben).await;
    assert_eq!(list(store, &ann).await, [device(&ann, "pad", "pad", at(1))]);
    assert_eq!(list(store, &ben).await, [of_ben]);
    // Also from one device of a user to another, which had a token of its own.
    put(store, &device(&ben, "pad", "second", at(3))).await;
    put(store, &device(&ben, "pad", "token", at(4))).await;
    assert_eq!(list(store, &ben).await, [device(&ben, "pad", "token", at(4))]);
}

/// The same text is another token on another platform or in another app.
pub async fn a_token_is_unique_per_platform_and_app(store: &dyn DeviceStore) {
    let ann = user("ann");
    let first = device(&ann, "a", "token", at(1));
    let other_platform = Device { platform: Platform::Apns, ..device(&ann, "b", "token", at(1)) };
    let other_app = Device { app: "other".to_owned(), ..device(&ann, "c", "token", at(1)) };
    for device in [&first, &other_platform, &other_app] {
        put(store, device).await;
    }
    assert_eq!(list(store, &ann).await, [first, other_platform, other_app]);
}

/// Removing says whether there was something to remove, and removes nothing else.
pub async fn removing_a_device_is_idempotent(store: &dyn DeviceStore) {
    let (ann, ben) = (user("ann"), user("ben"));
    let (phone, of_ben) = (device(&ann, "phone", "t1", at(1)), device(&ben, "phone", "t2", at(1)));
    put(store, &phone).await;
    put(store, &of_ben).await;
    let remove = async |user: &UserId| store.remove_device(user, &phone.id).await.expect("remove");
    assert!(remove(&ann).await);
    assert!(!remove(&ann).await);
    assert!(!remove(&user("nobody")).await);
    assert!(list(store, &ann).await.is_empty());
    assert_eq!(list(store, &ben).await, [of_ben]);
}
