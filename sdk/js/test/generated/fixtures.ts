// Generated from api/fixtures by `npm run generate`. Do not edit.

export const clientFixtures = [
  {
    "about": "hello of a client that begins now",
    "frame": {
      "type": "hello",
      "token": "user:u_7"
    }
  },
  {
    "about": "hello of a client that comes back",
    "frame": {
      "type": "hello",
      "token": "user:u_7",
      "last_seq": 41,
      "device": "phone"
    }
  },
  {
    "about": "hello of a client that comes back, and began at 40",
    "frame": {
      "type": "hello",
      "token": "user:u_7",
      "last_seq": 41,
      "after_seq": 40
    }
  },
  {
    "about": "a new token of the same user",
    "frame": {
      "type": "renew",
      "token": "user:u_7"
    }
  },
  {
    "about": "hello of a client that comes back with a ticket",
    "frame": {
      "type": "hello",
      "ticket": "AQ-9k3TfAAABoMZ1oAAAAAGgxnWgAAAAAaDGdaB1Xzc",
      "last_seq": 41
    }
  },
  {
    "about": "everything up to 42 arrived",
    "frame": {
      "type": "ack",
      "seq": 42
    }
  },
  {
    "about": "everything up to 42 was opened",
    "frame": {
      "type": "read",
      "up_to_seq": 42
    }
  },
  {
    "about": "one notification was opened",
    "frame": {
      "type": "read",
      "ids": [
        "00000000-0007-8000-8000-00000000002a"
      ]
    }
  },
  {
    "about": "are you there?",
    "frame": {
      "type": "ping"
    }
  },
  {
    "about": "yes",
    "frame": {
      "type": "pong"
    }
  },
  {
    "about": "a field of a later version is ignored",
    "frame": {
      "type": "ack",
      "seq": 42,
      "later": true
    }
  }
] as const;

export const serverFixtures = [
  {
    "about": "the session is open",
    "frame": {
      "type": "welcome",
      "session": "01993d2e-0000-7000-8000-000000000001",
      "user": "u_7",
      "seq": 42,
      "unread": 3,
      "heartbeat_ms": 25000
    }
  },
  {
    "about": "the session is open, and what is too old is gone",
    "frame": {
      "type": "welcome",
      "session": "01993d2e-0000-7000-8000-000000000002",
      "user": "u_7",
      "seq": 42,
      "unread": 3,
      "heartbeat_ms": 25000,
      "forgotten_seq": 17
    }
  },
  {
    "about": "the session is open, and a ticket to come back with",
    "frame": {
      "type": "welcome",
      "session": "01993d2e-0000-7000-8000-000000000003",
      "user": "u_7",
      "seq": 42,
      "unread": 3,
      "heartbeat_ms": 25000,
      "ticket": "AQ-9k3TfAAABoMZ1oAAAAAGgxnWgAAAAAaDGdaB1Xzc"
    }
  },
  {
    "about": "a notification",
    "frame": {
      "type": "notification",
      "seq": 42,
      "notification": {
        "id": "00000000-0007-8000-8000-00000000002a",
        "seq": 42,
        "created_at": "2026-11-23T09:00:00.123Z",
        "event_id": "evt_01J",
        "source": "posts",
        "type": "like",
        "time": "2026-11-23T09:00:00.000Z",
        "actor": "u_42",
        "object": {
          "type": "post",
          "id": "p_9",
          "url": "app://posts/p_9"
        },
        "title": "Ann liked your photo",
        "body": "Sunset over the bay",
        "data": {
          "any": "json"
        },
        "priority": "high",
        "group": "like:p_9",
        "expires_at": "2026-11-24T09:00:00.000Z"
      }
    }
  },
  {
    "about": "opened on another screen",
    "frame": {
      "type": "update",
      "read": {
        "up_to_seq": 42
      },
      "unread": 0,
      "seq": 42
    }
  },
  {
    "about": "one was put away on another screen",
    "frame": {
      "type": "update",
      "archived": {
        "ids": [
          "00000000-0007-8000-8000-00000000002a"
        ]
      },
      "unread": 2,
      "seq": 42
    }
  },
  {
    "about": "the session goes on with the new token until then",
    "frame": {
      "type": "renewed",
      "expires_ms": 1795420800000
    }
  },
  {
    "about": "marks were made that this node did not hear of",
    "frame": {
      "type": "update",
      "unread": 5,
      "seq": 47
    }
  },
  {
    "about": "are you there?",
    "frame": {
      "type": "ping"
    }
  },
  {
    "about": "yes",
    "frame": {
      "type": "pong"
    }
  },
  {
    "about": "that frame is not known here",
    "frame": {
      "type": "error",
      "reason": "there is no frame of type \"wave\" in tidings.v1"
    }
  },
  {
    "about": "the node is stopping",
    "frame": {
      "type": "bye",
      "reason": "the node is stopping",
      "retry_ms": 1723
    }
  }
] as const;
