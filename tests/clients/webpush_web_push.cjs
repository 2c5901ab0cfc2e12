// Web Push by web-push.
"use strict";

const webpush = require("web-push");
const { assert, facts, file, control, ledger, last, check, refused } = require("./simulators.cjs");

async function main() {
  const vapidDetails = { subject: "mailto:push@example.com", ...JSON.parse(file("vapid.json")) };
  const subscribe = (options = {}) => control("POST", "/webpush/subscriptions", options);
  const subscription = await subscribe({
    application_server_key: facts.webpush.application_server_key,
  });
  const send = (options = {}) =>
    webpush.sendNotification(subscription, JSON.stringify({ title: "hello", tidings_id: "w-1" }), {
      vapidDetails,
      contentEncoding: "aes128gcm",
      TTL: 60,
      ...options,
    });
  const failure = async (state) => {
    await control("PUT", "/webpush/devices", { token: subscription.endpoint, ...state });
    const error = await refused(send);
    await control("DELETE", `/webpush/devices?token=${encodeURIComponent(subscription.endpoint)}`);
    return error;
  };
  await check("web-push", {
    "a message is decrypted by the browser": async () => {
      const result = await send({ topic: "like-p_9", urgency: "high" });
      assert.equal(result.statusCode, 201);
      assert.ok(result.headers.location);
      const push = await last("webpush");
      assert.deepEqual([push.identity, push.collapse_id], ["w-1", "like-p_9"]);
      assert.equal(JSON.parse(push.payload).title, "hello");
    },
    "404 and 410 are told": async () => {
      assert.equal((await failure({ state: "expired" })).statusCode, 404);
      assert.equal((await failure({ state: "gone" })).statusCode, 410);
    },
    "429 is told with Retry-After": async () => {
      const error = await failure({ state: "too_many", retry_after_secs: 7 });
      assert.deepEqual([error.statusCode, error.headers["retry-after"]], [429, "7"]);
    },
    "413 is told": async () => {
      const long = () => webpush.sendNotification(subscription, "x".repeat(3994), { vapidDetails });
      assert.equal((await refused(long)).statusCode, 413);
    },
    "another key is refused": async () => {
      const stranger = { subject: "mailto:push@example.com", ...webpush.generateVAPIDKeys() };
      const error = await refused(() => send({ vapidDetails: stranger }));
      assert.equal(error.statusCode, 403);
    },
    "a sender without a name is refused": async () => {
      const error = await refused(() => send({ vapidDetails: null }));
      assert.equal(error.statusCode, 401);
    },
    "the encoding of the draft is refused": async () => {
      const error = await refused(() => send({ contentEncoding: "aesgcm" }));
      assert.ok([400, 401].includes(error.statusCode), String(error.statusCode));
    },
  });
  assert.equal((await ledger("webpush")).accepted, 1);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
