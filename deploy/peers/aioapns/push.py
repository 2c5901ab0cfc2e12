"""Sends pushes with aioapns until its input ends; deploy/peers/README.md tells what it reads and prints."""

import asyncio
import json
import ssl
import sys
from urllib.parse import urlsplit

from aioapns import APNs, NotificationRequest
from aioapns.connection import APNsProductionClientProtocol


async def main() -> None:
    settings = json.loads(sys.stdin.readline())
    loop = asyncio.get_running_loop()
    stopping = loop.run_in_executor(None, sys.stdin.read)
    # Its host is fixed.
    url = urlsplit(settings["url"])
    APNsProductionClientProtocol.APNS_SERVER = url.hostname
    APNsProductionClientProtocol.APNS_PORT = url.port
    with open(settings["key_file"], encoding="ascii") as file:
        key = file.read()
    client = APNs(
        key=key,
        key_id=settings["key_id"],
        team_id=settings["team_id"],
        topic=settings["topic"],
        max_connections=settings["connections"],
        ssl_context=ssl.create_default_context(cafile=settings["ca_file"]),
    )
    sent = delivered = 0
    alert = {"title": settings["title"], "body": settings["body"]}

    async def push() -> None:
        nonlocal sent, delivered
        number, sent = sent, sent + 1
        data = {"id": number, "event_id": f"evt{number}", "source": "bench", "type": "like"}
        aps = {"alert": alert, "badge": 1, "sound": "default"}
        token = f"{number % settings['devices']:064x}"
        request = NotificationRequest(device_token=token, message={"aps": aps, "tidings": data})
        answer = await client.send_notification(request)
        delivered += answer.is_successful

    async def push_until_stopped() -> None:
        while not stopping.done():
            await push()

    # A connection takes one request until the first has been answered.
    await push()
    await asyncio.gather(*(push_until_stopped() for _ in range(settings["in_flight"])))
    print(json.dumps({"sent": sent, "delivered": delivered}))


asyncio.run(main())
