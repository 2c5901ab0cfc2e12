"""What the checks in Python share: where the simulators are, and their control."""

import json
import os
import sys
import urllib.request

FACTS = json.loads(os.environ["SIMULATORS"])


def path(name):
    """A file that `tidings simulate` wrote."""
    return os.path.join(FACTS["out"], name)


def control(method, route, body=None):
    """Asks the control; gives what it answers, if it is JSON."""
    request = urllib.request.Request(
        FACTS["control"] + route,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    return json.loads(text) if text[:1] in ("{", "[") else text


def last(service):
    """The push that was accepted last."""
    return control("GET", f"/{service}/ledger/recent?limit=1")[0]


def equal(got, wanted):
    """Ends the process if they differ."""
    if got != wanted:
        sys.exit(f"FAILED: got {got!r}, wanted {wanted!r}")


def passed(client, rule):
    """Says that a rule holds."""
    print(f"{client}: {rule}", flush=True)
