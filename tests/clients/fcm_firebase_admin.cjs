// FCM by firebase-admin, which knows no hosts but Google's: HTTP/1.1 for one message, HTTP/2 for many.
"use strict";

const admin = require("firebase-admin");
const { assert, facts, file, control, ledger, last, check, refused } = require("./simulators.cjs");

const DEVICE = "fcm-device:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx";

async function main() {
  const account = JSON.parse(file("fcm-service-account.json"));
  admin.initializeApp({ credential: admin.credential.cert(account) });
  const messaging = admin.messaging();
  const message = (id, token = DEVICE) => ({
    token,
    notification: { title: "hello", body: "there" },
    data: { tidings_id: id },
    android: { priority: "high", ttl: 3600 * 1000, collapseKey: "k" },
  });
  const failure = async (state) => {
    await control("PUT", "/fcm/devices", { token: DEVICE, ...state });
    const error = await refused(() => messaging.send(message("never")));
    await control("DELETE", `/fcm/devices?token=${encodeURIComponent(DEVICE)}`);
    return error.code;
  };
  await check("firebase-admin", {
    "a message arrives under its identity": async () => {
      const name = await messaging.send(message("n-1"));
      assert.match(name, new RegExp(`^projects/${facts.fcm.project_id}/messages/`));
      const push = await last("fcm");
      assert.deepEqual([push.identity, push.token, push.collapse_id], ["n-1", DEVICE, "k"]);
    },
    "fifty over one connection all arrive": async () => {
      const before = await ledger("fcm");
      const all = Array.from({ length: 50 }, (_, n) => message(`many-${n}`, `device-${n}`));
      const result = await messaging.sendEach(all);
      assert.equal(result.successCount, 50, JSON.stringify(result.responses.find((r) => r.error)));
      const after = await ledger("fcm");
      assert.equal(after.distinct_identities - before.distinct_identities, 50);
    },
    "UNREGISTERED is told": async () => {
      assert.equal(
        await failure({ state: "unregistered" }),
        "messaging/registration-token-not-registered",
      );
    },
    "SENDER_ID_MISMATCH is told": async () => {
      assert.equal(await failure({ state: "sender_id_mismatch" }), "messaging/mismatched-credential");
    },
    "QUOTA_EXCEEDED is told": async () => {
      assert.equal(
        await failure({ state: "quota_exceeded" }),
        "messaging/message-rate-exceeded",
      );
    },
    "INVALID_ARGUMENT is told": async () => {
      assert.equal(await failure({ state: "invalid_argument" }), "messaging/invalid-argument");
    },
    "THIRD_PARTY_AUTH_ERROR is told": async () => {
      assert.equal(await failure({ state: "third_party_auth_error" }), "messaging/third-party-auth-error");
    },
    "a failure that passes is waited out": async () => {
      await control("POST", "/fcm/failures", { next: 1, failure: "unavailable", retry_after_secs: 1 });
      await messaging.send(message("n-2"));
      assert.equal((await last("fcm")).identity, "n-2");
    },
  });
  const counts = await ledger("fcm");
  assert.deepEqual([counts.accepted, counts.duplicates], [52, 0]);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
