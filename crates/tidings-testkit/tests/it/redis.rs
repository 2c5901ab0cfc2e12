use futures_util::StreamExt;
use redis::AsyncCommands;
use tidings_testkit::services::{redis_url, unique_name};

use crate::within;

#[tokio::test]
async fn a_value_set_in_redis_is_read_back() {
    let client = redis::Client::open(redis_url()).unwrap();
    let mut connection = within(client.get_multiplexed_async_connection()).await.unwrap();
    let key = unique_name("smoke");

    let () = within(connection.set_ex(&key, "followers", 60)).await.unwrap();
    let value: String = within(connection.get(&key)).await.unwrap();
    let removed: u64 = within(connection.del(&key)).await.unwrap();

    assert_eq!((value.as_str(), removed), ("followers", 1));
}

#[tokio::test]
async fn what_is_published_in_redis_reaches_its_subscribers_in_order() {
    let client = redis::Client::open(redis_url()).unwrap();
    let channel = unique_name("smoke");
    let mut subscriber = within(client.get_async_pubsub()).await.unwrap();
    // Redis keeps nothing for those who come later: the answer to this must be there before we publish.
    within(subscriber.subscribe(&channel)).await.unwrap();

    let mut publisher = within(client.get_multiplexed_async_connection()).await.unwrap();
    for message in ["one", "two"] {
        let receivers: u64 = within(publisher.publish(&channel, message)).await.unwrap();
        assert_eq!(receivers, 1);
    }

    let mut messages = subscriber.on_message();
    for expected in ["one", "two"] {
        let message = within(messages.next()).await.unwrap();
        assert_eq!(message.get_payload::<String>().unwrap(), expected);
    }
}
