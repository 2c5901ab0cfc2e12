"""Web Push by pywebpush."""

import json

from pywebpush import WebPushException, webpush

from simulators import FACTS, control, equal, last, passed, path

CLIENT = "pywebpush"
CLAIMS = {"sub": "mailto:push@example.com"}


def send(subscription, **options):
    return webpush(
        subscription_info=subscription,
        data=json.dumps({"title": "hello", "tidings_id": "p-1"}),
        vapid_private_key=path("vapid.pem"),
        vapid_claims=dict(CLAIMS),
        ttl=60,
        **options,
    )


def refused(subscription, state):
    control("PUT", "/webpush/devices", {"token": subscription["endpoint"], **state})
    try:
        send(subscription)
    except WebPushException as error:
        return error.response
    finally:
        control("DELETE", f"/webpush/devices?token={subscription['endpoint']}")
    return None


def main():
    key = FACTS["webpush"]["application_server_key"]
    subscription = control("POST", "/webpush/subscriptions", {"application_server_key": key})
    equal(send(subscription, headers={"Topic": "like-p_9"}).status_code, 201)
    push = last("webpush")
    equal((push["identity"], push["collapse_id"]), ("p-1", "like-p_9"))
    passed(CLIENT, "a message is decrypted by the browser")

    for state, status in [("expired", 404), ("gone", 410), ("too_large", 413)]:
        equal(refused(subscription, {"state": state}).status_code, status)
    passed(CLIENT, "404, 410 and 413 are told")

    answer = refused(subscription, {"state": "too_many", "retry_after_secs": 7})
    equal((answer.status_code, answer.headers["retry-after"]), (429, "7"))
    passed(CLIENT, "429 is told with Retry-After")
    equal(control("GET", "/webpush/ledger")["accepted"], 1)


main()
