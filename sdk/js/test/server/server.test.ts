import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../../src/index.js";
import type { ConnectOptions, TidingsClient, WebSocketConstructor } from "../../src/index.js";
import { jwt } from "../support/jwt.js";
import { SECRET, Site } from "../support/node.js";
import { until } from "../support/until.js";

const TOML = `[auth.tokens]\nhs256_secret = "${SECRET}"\nleeway_secs = 0\n[realtime]\nheartbeat_ms = 1000\ndrain_retry_ms = 100\n`;

let site: Site;
const clients: TidingsClient[] = [];
before(async () => {
  site = await Site.start(TOML);
});
after(() => site.remove());
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

const to = (n: number) => Array.from({ length: n }, (_, index) => index + 1);

function open(user: string, options: Partial<ConnectOptions> = {}) {
  const client = connect({
    url: site.url,
    tokenProvider: () => jwt(user, 3600, SECRET),
    lastSeq: 0,
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    backoff: { baseMs: 20, capMs: 200 },
    ...options,
  });
  clients.push(client);
  const seqs: number[] = [];
  client.on("notification", ({ seq }) => seqs.push(seq));
  return { client, seqs, reached: (n: number) => until(`seq ${n} of ${user}`, () => seqs.at(-1) === n) };
}

test("what was there comes first, then what happens, in order and once", async () => {
  await site.tell("ann", 5);
  const { client, seqs, reached } = open("ann");
  await reached(5);
  await site.tell("ann", 5);
  await reached(10);
  assert.deepEqual(seqs, to(10));
  assert.equal(client.user, "ann");
  assert.equal(client.unread, 10);
});

test("a node that is killed and started again loses and repeats nothing", async () => {
  const { client, seqs, reached } = open("bob");
  await site.tell("bob", 3);
  await reached(3);
  for (const round of [1, 2]) {
    await site.kill();
    await until("the loss to be seen", () => client.state !== "live");
    await site.start();
    await site.tell("bob", 3);
    await reached(3 + 3 * round);
  }
  assert.deepEqual(seqs, to(9));
});

test("a node that stops says when to come back, and is come back to", async () => {
  const { client, seqs, reached } = open("bea");
  await site.tell("bea", 1);
  await reached(1);
  await site.stop();
  await until("the loss to be seen", () => client.state !== "live");
  await site.start();
  await site.tell("bea", 1);
  await reached(2);
  assert.deepEqual(seqs, [1, 2]);
});

test("a token that ends does not end the client that has another", async () => {
  let asked = 0;
  const provider = () => jwt("cat", (asked += 1) > 2 ? 3600 : 2, SECRET);
  const { client, seqs, reached } = open("cat", { tokenProvider: provider });
  await until("live", () => client.state === "live");
  const since = Date.now();
  await until("the ends of two tokens", () => asked >= 3 && Date.now() - since > 4_000);
  await until("live", () => client.state === "live");
  await site.tell("cat", 2);
  await reached(2);
  assert.deepEqual(seqs, [1, 2]);
});

test("a token that is not accepted ends a client that has no other", async () => {
  const client = connect({ url: site.url, token: jwt("x", 3600, "another secret of more than 32 bytes"), WebSocket: WebSocket as unknown as WebSocketConstructor });
  clients.push(client);
  const error = await new Promise<Error>((resolve) => client.on("error", resolve));
  assert.match(error.message, /token/);
  assert.equal(client.state, "closed");
});

test("what was read while the node was away is read when it is back, on all screens", async () => {
  const phone = open("dan");
  const laptop = open("dan");
  await site.tell("dan", 3);
  await phone.reached(3);
  await laptop.reached(3);
  await site.kill();
  const read = phone.client.read({ upToSeq: 2 });
  await site.start();
  assert.equal((await read).unread, 1);
  await until("the other screen", () => laptop.client.unread === 1);
  const page = await laptop.client.inbox.page({ filter: ({ read_at }) => !read_at });
  assert.deepEqual(page.items.map(({ seq }) => seq), [3]);
});

test("marks reach the other screens: seen, read by id, archived", async () => {
  const phone = open("eve");
  const laptop = open("eve");
  const updates: string[] = [];
  laptop.client.on("update", ({ type: _, seq: __, unread, ...mark }) => updates.push(`${Object.keys(mark)[0]} ${unread}`));
  await site.tell("eve", 3);
  await phone.reached(3);
  await laptop.reached(3);
  await until("three unread", () => laptop.client.unread === 3);
  const { items } = await phone.client.inbox.page({ limit: 2 });
  await phone.client.seen({ upToSeq: 3 });
  await phone.client.read([items[0]!.id]);
  await phone.client.archive([items[1]!.id]);
  await until("three updates", () => updates.length === 3);
  assert.deepEqual(updates, ["seen 3", "read 2", "archived 1"]);
});

test("an inbox is paged from the newest to the oldest", async () => {
  await site.tell("flo", 5);
  const { client } = open("flo");
  const seqs: number[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await client.inbox.page({ limit: 2, cursor: cursor ?? null });
    seqs.push(...page.items.map(({ seq }) => seq));
    cursor = page.next;
  } while (cursor);
  assert.deepEqual(seqs, [5, 4, 3, 2, 1]);
  assert.deepEqual((await client.inbox.after(1, 3)).map(({ seq }) => seq), [2, 3, 4]);
});

test("what was delivered is acknowledged on the server", async () => {
  const { client, reached } = open("gus");
  await site.tell("gus", 4);
  await reached(4);
  await until("the ack", async () => (await client.inbox.counters()).acked_seq === 4);
});

test("a quiet session outlives its heartbeats", async () => {
  const { client } = open("hal");
  const states: string[] = [];
  await until("live", () => client.state === "live");
  client.on("state", (state) => states.push(state));
  const since = Date.now();
  await until("three heartbeats", () => Date.now() - since > 3_000);
  assert.deepEqual(states, []);
});

/** A WebSocket that writes down its hellos, and can be lost. */
function spied() {
  const hellos: Array<Record<string, unknown>> = [];
  const open = new Set<WebSocket>();
  class Spied extends WebSocket {
    override send(...words: unknown[]): void {
      const frame = JSON.parse(String(words[0])) as Record<string, unknown>;
      if (frame["type"] === "hello") hellos.push(frame);
      open.add(this);
      super.send(...(words as [string]));
    }
  }
  const lose = () => {
    for (const socket of open) socket.terminate();
    open.clear();
  };
  return { hellos, lose, WebSocket: Spied as unknown as WebSocketConstructor };
}

test("a session outlives its tokens: it is renewed, and not opened anew", async () => {
  let asked = 0;
  const { hellos, WebSocket } = spied();
  const { client, seqs, reached } = open("ian", { WebSocket, tokenProvider: () => (asked++, jwt("ian", 3, SECRET)) });
  const states: string[] = [];
  await until("live", () => client.state === "live");
  client.on("state", (state) => states.push(state));
  const since = Date.now();
  await until("the ends of two tokens", () => asked >= 4 && Date.now() - since > 6_500);
  await site.tell("ian", 2);
  await reached(2);
  assert.deepEqual([seqs, states, hellos.length], [[1, 2], [], 1]);
});

test("a connection that was lost is opened anew with a ticket, and after a restart of the node with the token", async () => {
  let asked = 0;
  const { hellos, lose, WebSocket } = spied();
  const { client, seqs, reached } = open("joy", { WebSocket, tokenProvider: () => (asked++, jwt("joy", 3600, SECRET)) });
  await site.tell("joy", 1);
  await reached(1);
  lose();
  await until("the loss to be seen", () => client.state !== "live");
  await site.tell("joy", 1);
  await reached(2);
  assert.deepEqual([typeof hellos[1]?.["ticket"], hellos[1]?.["token"], asked], ["string", undefined, 1]);
  await site.kill();
  await until("the loss to be seen", () => client.state !== "live");
  await site.start();
  await site.tell("joy", 1);
  await reached(3);
  assert.deepEqual([seqs, typeof hellos.at(-1)?.["token"]], [[1, 2, 3], "string"]);
});
