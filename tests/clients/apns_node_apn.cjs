// APNs by @parse/node-apn.
"use strict";

const apn = require("@parse/node-apn");
const { assert, facts, file, control, ledger, last, check } = require("./simulators.cjs");

const DEVICE = "a1".repeat(32);
const { port, hostname } = new URL(facts.apns.url);
const at = { address: hostname, port: Number(port), ca: [file("ca.pem")], production: true };
const token = { key: file("apns.p8"), keyId: facts.apns.key_id, teamId: facts.apns.team_id };

function note(text) {
  const note = new apn.Notification();
  note.topic = facts.apns.topic;
  note.pushType = "alert";
  note.alert = text;
  note.id = crypto.randomUUID();
  return note;
}

async function main() {
  const provider = new apn.Provider({ ...at, token });
  const failure = async (state, sent = note("x")) => {
    if (state) await control("PUT", "/apns/devices", { token: DEVICE, ...state });
    const { failed } = await provider.send(sent, DEVICE);
    await control("DELETE", `/apns/devices?token=${DEVICE}`);
    assert.equal(failed.length, 1, "it was sent");
    return failed[0];
  };
  await check("node-apn", {
    "a push arrives under its apns-id": async () => {
      const sent = note("hello");
      const result = await provider.send(sent, DEVICE);
      assert.deepEqual([result.sent.length, result.failed], [1, []]);
      const push = await last("apns");
      assert.deepEqual([push.identity, push.token], [sent.id, DEVICE]);
      assert.equal(JSON.parse(push.payload).aps.alert, "hello");
    },
    "two hundred at once all arrive": async () => {
      const before = await ledger("apns");
      const devices = Array.from({ length: 200 }, (_, n) => n.toString(16).padStart(64, "0"));
      const result = await provider.send(note("all"), devices);
      assert.deepEqual([result.sent.length, result.failed], [200, []]);
      assert.equal((await ledger("apns")).accepted - before.accepted, 200);
    },
    "BadDeviceToken is told": async () => {
      const { status, response } = await failure({ state: "bad_device_token" });
      assert.deepEqual([status, response], [400, { reason: "BadDeviceToken" }]);
    },
    "410 comes with its timestamp": async () => {
      const { status, response } = await failure({ state: "unregistered", since_ms: 1795424400123 });
      const told = { reason: "Unregistered", timestamp: 1795424400123 };
      assert.deepEqual([status, response], [410, told]);
    },
    "429 is told": async () => {
      const { status, response } = await failure({ state: "too_many_requests" });
      assert.deepEqual([status, response.reason], [429, "TooManyRequests"]);
    },
    "a payload that is too long is told": async () => {
      const { status, response } = await failure(null, note("x".repeat(4096)));
      assert.deepEqual([status, response.reason], [413, "PayloadTooLarge"]);
    },
    "another app's topic is told": async () => {
      const sent = note("x");
      sent.topic = "com.example.other";
      const { status, response } = await failure(null, sent);
      assert.deepEqual([status, response.reason], [400, "TopicDisallowed"]);
    },
  });
  await provider.shutdown();

  const pem = file("apns-certificate.pem");
  const certified = new apn.Provider({ ...at, cert: pem, key: pem });
  await check("node-apn", {
    "a certificate takes the place of a token": async () => {
      const result = await certified.send(note("certified"), DEVICE);
      assert.deepEqual([result.sent.length, result.failed], [1, []]);
    },
  });
  await certified.shutdown();
  const counts = await ledger("apns");
  assert.equal(counts.duplicates, 0, JSON.stringify(counts));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
