// APNs by apns2, which knows no hosts but Apple's.
"use strict";

const { ApnsClient, Notification } = require("apns2");
const { assert, facts, file, control, ledger, last, check, refused } = require("./simulators.cjs");

const DEVICE = "b2".repeat(32);

async function main() {
  const client = new ApnsClient({
    team: facts.apns.team_id,
    keyId: facts.apns.key_id,
    signingKey: file("apns.p8"),
    defaultTopic: facts.apns.topic,
  });
  const send = (alert = "hello") => client.send(new Notification(DEVICE, { alert }));
  const failure = async (state) => {
    await control("PUT", "/apns/devices", { token: DEVICE, ...state });
    const error = await refused(send);
    await control("DELETE", `/apns/devices?token=${DEVICE}`);
    return error;
  };
  await check("apns2", {
    "a push arrives": async () => {
      await send();
      const push = await last("apns");
      assert.equal(push.token, DEVICE);
      assert.equal(JSON.parse(push.payload).aps.alert, "hello");
    },
    "BadDeviceToken is told": async () => {
      const error = await failure({ state: "bad_device_token" });
      assert.deepEqual([error.statusCode, error.reason], [400, "BadDeviceToken"]);
    },
    "410 is told": async () => {
      const error = await failure({ state: "unregistered", since_ms: 1795424400123 });
      assert.deepEqual([error.statusCode, error.reason], [410, "Unregistered"]);
    },
    "429 is told": async () => {
      const error = await failure({ state: "too_many_requests" });
      assert.deepEqual([error.statusCode, error.reason], [429, "TooManyRequests"]);
    },
    "an expired token is told": async () => {
      await control("POST", "/apns/provider-tokens/expire");
      const error = await refused(send);
      assert.deepEqual([error.statusCode, error.reason], [403, "ExpiredProviderToken"]);
    },
  });
  await client.destroy();
  const counts = await ledger("apns");
  assert.deepEqual([counts.accepted, counts.duplicates], [1, 0]);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
