"""APNs by aioapns, which knows no hosts but Apple's."""

import asyncio
import logging
import ssl
import uuid
from urllib.parse import urlsplit

from aioapns import APNs, NotificationRequest, PushType
from aioapns import connection as aioapns_connection

from simulators import FACTS, control, equal, last, passed, path

DEVICE = "c3" * 32
CLIENT = "aioapns"


def lead_here():
    """Lets the client connect to the simulator under the name that its certificate has."""
    at = urlsplit(FACTS["apns"]["url"])
    for name in dir(aioapns_connection):
        protocol = getattr(aioapns_connection, name)
        if hasattr(protocol, "APNS_SERVER"):
            protocol.APNS_SERVER = at.hostname
            protocol.APNS_PORT = at.port


def request(device=DEVICE, message=None):
    return NotificationRequest(
        device_token=device,
        message=message or {"aps": {"alert": "hello"}},
        notification_id=str(uuid.uuid4()),
        push_type=PushType.ALERT,
    )


async def refused(client, state):
    control("PUT", "/apns/devices", {"token": DEVICE, **state})
    result = await client.send_notification(request())
    control("DELETE", f"/apns/devices?token={DEVICE}")
    return result


async def main():
    lead_here()
    # It warns of each wait for a free stream.
    logging.getLogger("aioapns").setLevel(logging.CRITICAL)
    client = APNs(
        key=open(path("apns.p8")).read(),
        key_id=FACTS["apns"]["key_id"],
        team_id=FACTS["apns"]["team_id"],
        topic=FACTS["apns"]["topic"],
        max_connections=1,
        ssl_context=ssl.create_default_context(cafile=path("ca.pem")),
    )
    sent = request()
    result = await client.send_notification(sent)
    equal((result.is_successful, result.notification_id), (True, sent.notification_id))
    push = last("apns")
    equal((push["identity"], push["token"]), (sent.notification_id, DEVICE))
    passed(CLIENT, "a push arrives under its apns-id")

    many = [request(f"{number:064x}") for number in range(100)]
    results = await asyncio.gather(*(client.send_notification(it) for it in many))
    equal([it.description for it in results if not it.is_successful], [])
    equal(control("GET", "/apns/ledger")["distinct_identities"], 101)
    passed(CLIENT, "a hundred at once all arrive")

    result = await refused(client, {"state": "bad_device_token"})
    equal((result.status, result.description), ("400", "BadDeviceToken"))
    passed(CLIENT, "BadDeviceToken is told")

    result = await refused(client, {"state": "unregistered", "since_ms": 1795424400123})
    equal((result.status, result.description), ("410", "Unregistered"))
    equal(str(result.timestamp), "1795424400123")
    passed(CLIENT, "410 comes with its timestamp")

    result = await refused(client, {"state": "too_many_requests"})
    equal((result.status, result.description), ("429", "TooManyRequests"))
    passed(CLIENT, "429 is told")

    control("POST", "/apns/provider-tokens/expire")
    result = await client.send_notification(request())
    equal((result.status, result.description), ("403", "ExpiredProviderToken"))
    passed(CLIENT, "an expired token is told")
    equal(control("GET", "/apns/ledger")["duplicates"], 0)


asyncio.run(main())
