import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Backoff } from "../../src/backoff.js";
import { addressOf } from "../../src/address.js";
import { readServerFrame } from "../../src/frames.js";
import type { ClientFrame, ServerFrame } from "../../src/frames.js";
import { GOOD_MS, decide } from "../../src/reconnect.js";
import { renewalDelay, subjectOf } from "../../src/token.js";
import { clientFixtures, serverFixtures } from "../generated/fixtures.js";
import { jwt } from "../support/jwt.js";

// The compiler checks the golden frames against the types.
const serverFrames: readonly { readonly frame: ServerFrame }[] = serverFixtures;
const clientFrames: readonly { readonly frame: ClientFrame }[] = clientFixtures;

test("what is generated from api/ is up to date", () => {
  execFileSync(process.execPath, ["scripts/generate-types.mjs", "--check"], { stdio: "inherit" });
});

test("the demo's page is built from the sources as they are", () => {
  execFileSync(process.execPath, ["scripts/demo.mjs", "--check"], { stdio: "inherit" });
});

test("the limits in the guide are the defaults of the node", () => {
  const guide = readFileSync("../../docs/realtime.md", "utf8");
  const file = readFileSync("../../config/tidings.default.toml", "utf8");
  const section = /^\[realtime\]\n([^]*?)^\[/m.exec(file)?.[1] ?? "";
  const rows = [...guide.matchAll(/^\| `(\w+)` \| (\d+) \|/gm)];
  assert.ok(rows.length >= 7);
  for (const [, option, value] of rows) assert.match(section, new RegExp(`^${option} = ${value}$`, "m"));
});

test("a ticket, and a renewal, are read as they are", () => {
  const welcome = { type: "welcome", session: "s", user: "u_7", seq: 42, unread: 3, heartbeat_ms: 25_000, ticket: "opaque" };
  const renewed = { type: "renewed", expires_ms: 1_795_420_800_000, ticket: "opaque" };
  for (const frame of [welcome, renewed]) assert.deepEqual(readServerFrame(JSON.stringify(frame)), frame);
});

test("the golden frames of the server are read as they are", () => {
  for (const { frame } of serverFrames) assert.deepEqual(readServerFrame(JSON.stringify(frame)), frame);
});

test("the types know each frame that the golden ones of a client have", () => {
  const known = new Set<ClientFrame["type"]>(["hello", "renew", "ack", "read", "ping", "pong"]);
  for (const { frame } of clientFrames) assert.ok(known.has(frame.type), frame.type);
});

test("nonsense is told apart from a later version", () => {
  for (const text of ["", "7", "null", "[]", "{}", '{"type":"welcome"}', '{"type":"renewed"}', '{"type":"notification","seq":1}']) {
    assert.throws(() => readServerFrame(text), SyntaxError, text);
  }
  assert.equal(readServerFrame('{"type":"wave"}'), undefined);
  assert.equal(readServerFrame('{"type":"toString"}'), undefined);
});

test("waits are random up to a bound that doubles, and begin anew after success", () => {
  let now = 0;
  const backoff = new Backoff({ baseMs: 100, capMs: 1_000 }, () => 1, () => now);
  const wait = (minAttempt?: number) => {
    const ms = backoff.next(minAttempt);
    now += ms;
    return ms;
  };
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => wait()), [100, 100, 100, 150, 225, 337.5]);
  backoff.reset();
  assert.equal(wait(), 100);
  backoff.reset();
  assert.equal(wait(3), 800);
  assert.equal(new Backoff({ baseMs: 100, capMs: 1_000 }, () => 0).next(), 0);
});

test("a client whose first waits were short does not stay away for long", () => {
  let now = 5_000;
  let random = 0;
  const backoff = new Backoff({ baseMs: 500, capMs: 30_000 }, () => random, () => now);
  for (let attempt = 0; attempt < 6; attempt += 1) backoff.next();
  now += 2_000;
  random = 1;
  assert.equal(backoff.next(), 1_000);
  // A laptop that slept begins with what its attempts are worth.
  backoff.reset();
  backoff.next();
  now += 3_600_000;
  assert.equal(backoff.next(), 1_000);
});

test("each close code has its way on", () => {
  const end = (code: number, more = {}) => decide({ code, reason: "", said: true, ...more }, true);
  assert.deepEqual(end(1012, { retryMs: 7 }), { then: "after", ms: 7 });
  assert.deepEqual(end(1012), { then: "backoff", minAttempt: 0 });
  assert.deepEqual(end(1006), { then: "backoff", minAttempt: 0 });
  assert.deepEqual(end(4408), { then: "backoff", minAttempt: 0 });
  assert.deepEqual(end(4508), { then: "backoff", minAttempt: 0 });
  assert.deepEqual(end(4429), { then: "backoff", minAttempt: 4 });
  assert.deepEqual(end(4401), { then: "backoff", minAttempt: 1 });
  assert.deepEqual(end(4401, { livedMs: 5 }), { then: "backoff", minAttempt: 1 });
  assert.deepEqual(end(4401, { livedMs: GOOD_MS }), { then: "after", ms: 0 });
  for (const code of [1002, 1007, 1009, 4400, 4403, 4409]) assert.equal(end(code).then, "stop");
});

test("an address is taken with any scheme, port and prefix", () => {
  assert.deepEqual(addressOf("https://a.example/"), { http: "https://a.example", stream: "wss://a.example/v1/stream" });
  assert.deepEqual(addressOf("ws://a:7700/x/"), { http: "http://a:7700/x", stream: "ws://a:7700/x/v1/stream" });
});

test("a token's user and renewal are read from it", () => {
  assert.equal(subjectOf(jwt("Zoë", 60)), "Zoë");
  assert.equal(subjectOf("user:u:7"), "u:7");
  assert.equal(subjectOf("opaque"), undefined);
  assert.equal(renewalDelay(3_600_000, 0), 3_540_000);
  assert.equal(renewalDelay(100_000, 0), 90_000);
  assert.equal(renewalDelay(4_000, 0), 2_000);
  assert.equal(renewalDelay(0, 4_000), 500);
});
