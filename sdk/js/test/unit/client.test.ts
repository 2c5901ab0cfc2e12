import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ConnectOptions, TidingsClient, TidingsError } from "../../src/index.js";
import { localStorageCursor } from "../../src/index.js";
import { openClient } from "../support/client.js";
import { jwt } from "../support/jwt.js";
import { FakeServer } from "../support/server.js";
import { until } from "../support/until.js";

let server: FakeServer;
const clients: TidingsClient[] = [];

beforeEach(async () => {
  server = await FakeServer.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.stop();
});

function open(options: Partial<ConnectOptions> = {}) {
  const opened = openClient(server.url, options);
  clients.push(opened.client);
  return opened;
}

test("hello says token, device and where the client stands", async () => {
  open({ lastSeq: 41, device: "laptop" });
  const peer = await server.peer(1);
  const hello = await peer.welcome(41);
  assert.deepEqual(hello, { type: "hello", token: "user:u", last_seq: 41, device: "laptop" });
  assert.equal(peer.socket.protocol, "tidings.v1");
});

test("without last_seq a client begins at what is newest, and keeps that place", async () => {
  const { reached } = open();
  const first = await server.peer(1);
  assert.equal("last_seq" in (await first.welcome(7)), false);
  first.notify(8);
  await reached(8);
  first.socket.terminate();
  const again = await (await server.peer(2)).welcome(8);
  // What was there before it began is not acknowledged.
  assert.deepEqual([again["last_seq"], again["after_seq"]], [8, 7]);
});

test("what comes twice is delivered once", async () => {
  const { seqs, reached } = open({ lastSeq: 0 });
  const peer = await server.peer(1);
  await peer.welcome(3);
  peer.notify(1, 2, 1, 2, 3);
  await reached(3);
  assert.deepEqual(seqs, [1, 2, 3]);
});

test("a gap is asked for again from where the client stands", async () => {
  const { seqs, reached } = open({ lastSeq: 0 });
  const first = await server.peer(1);
  await first.welcome(4);
  first.notify(1, 2, 4);
  const second = await server.peer(2);
  assert.equal((await second.welcome(4))["last_seq"], 2);
  second.notify(3, 4);
  await reached(4);
  assert.deepEqual(seqs, [1, 2, 3, 4]);
});

test("what was delivered is acknowledged, once for many", async () => {
  open({ lastSeq: 0 });
  const peer = await server.peer(1);
  await peer.welcome(3);
  peer.notify(1, 2, 3);
  assert.equal((await peer.frame("ack"))["seq"], 3);
  assert.equal(peer.heard.filter((frame) => frame.type === "ack").length, 1);
});

test("without autoAck nothing is acknowledged beyond what the app says", async () => {
  const { client, reached } = open({ lastSeq: 0, autoAck: false });
  const peer = await server.peer(1);
  await peer.welcome(3);
  peer.notify(1, 2);
  await reached(2);
  client.ack(99);
  assert.equal((await peer.frame("ack"))["seq"], 2);
});

test("a server that was set back hears no acknowledgement from before", async () => {
  const { client, reached } = open({ lastSeq: 50, autoAck: false });
  const first = await server.peer(1);
  await first.welcome(50);
  await until("live", () => client.state === "live");
  client.ack(50);
  first.socket.terminate();
  const second = await server.peer(2);
  await second.frame("hello");
  client.ack(50);
  await second.welcome(7);
  second.notify(8);
  await reached(8);
  client.ack(8);
  assert.equal((await second.frame("ack"))["seq"], 8);
  assert.equal(second.heard.filter(({ type }) => type === "ack").length, 1);
});

test("a bye's retry_ms is waited for", async () => {
  const { client } = open({ lastSeq: 0, backoff: { baseMs: 60_000, capMs: 60_000 } });
  const peer = await server.peer(1);
  await peer.welcome(0);
  peer.say({ type: "bye", reason: "stopping", retry_ms: 20 });
  peer.socket.close(1012);
  await until("waiting", () => client.state === "waiting");
  await (await server.peer(2)).welcome(0);
  await until("live", () => client.state === "live");
});

for (const [code, name] of [[1002, "protocol"], [1007, "protocol"], [1009, "protocol"], [4400, "protocol"], [4401, "unauthenticated"], [4403, "forbidden"], [4409, "replaced"]] as const) {
  test(`${code} ends a client that has nothing better to say`, async () => {
    const { client, errors } = open();
    (await server.peer(1)).socket.close(code, "no");
    await until("the end", () => client.state === "closed" && errors[0]);
    assert.equal(errors[0]?.code, name);
    assert.equal(errors[0]?.fatal, true);
    assert.equal(errors[0]?.message, `the session ended with ${code}: no`);
  });
}

test("4401 in a session brings the client back with another token", async () => {
  let asked = 0;
  open({ tokenProvider: () => `token ${++asked}` });
  const first = await server.peer(1);
  assert.equal((await first.welcome(0))["token"], "token 1");
  first.socket.close(4401, "expired");
  assert.equal((await (await server.peer(2)).welcome(0))["token"], "token 2");
});

test("a token is renewed ahead of its end by a frame", async () => {
  let asked = 0;
  const { client } = open({ tokenProvider: () => jwt("u", ++asked === 1 ? 2 : 3600) });
  const peer = await server.peer(1);
  const hello = await peer.welcome(0);
  const { token } = await peer.frame("renew");
  assert.notEqual(token, hello["token"]);
  assert.equal(asked, 2);
  peer.say({ type: "renewed", expires_ms: Date.now() + 3_600_000, ticket: "second" });
  peer.notify(1);
  await until("what came after it", () => client.lastSeq === 1);
  assert.equal(client.state, "live");
  peer.socket.terminate();
  assert.equal((await (await server.peer(2)).welcome(1))["ticket"], "second");
});

test("a renewed session is renewed again before its new end", async () => {
  open({ tokenProvider: () => jwt("u", 2) });
  const peer = await server.peer(1);
  await peer.welcome(0);
  const renews = () => peer.heard.filter(({ type }) => type === "renew");
  for (const n of [1, 2]) {
    await until(`renewal ${n}`, () => renews().length === n);
    peer.say({ type: "renewed", expires_ms: Date.now() + 2_000 });
  }
  await until("the third", () => renews().length === 3);
  assert.equal(new Set(renews().map(({ token }) => token)).size, 3);
  assert.equal(server.peers.length, 1);
});

test("a server that cannot renew is come back to with the new token, and that is no error", async () => {
  let asked = 0;
  const { errors } = open({ tokenProvider: () => jwt("u", ++asked === 1 ? 2 : 3600) });
  const peer = await server.peer(1);
  await peer.welcome(0);
  const { token } = await peer.frame("renew");
  peer.say({ type: "error", reason: 'there is no frame of type "renew" in tidings.v1' });
  peer.socket.close(4401, "the token has expired");
  assert.equal((await (await server.peer(2)).welcome(0))["token"], token);
  assert.equal(asked, 2);
  assert.deepEqual(errors, []);
});

test("a new token that is refused in the session is an error, and another is tried before its end", async () => {
  let asked = 0;
  const { client, errors } = open({ tokenProvider: () => jwt("u", ++asked === 1 ? 3 : 3600) });
  const peer = await server.peer(1);
  await peer.welcome(0);
  const first = await peer.frame("renew");
  peer.say({ type: "error", reason: "the token is not valid" });
  await until("another", () => peer.heard.filter(({ type }) => type === "renew").length === 2);
  assert.notEqual((await peer.frame("renew"))["token"], first["token"]);
  assert.deepEqual(errors.map(({ message, fatal }) => [message, fatal]), [["the token is not valid", false]]);
  assert.equal(client.state, "live");
});

test("a provider that has no other token is asked again, and the session is not told", async () => {
  const token = jwt("u", 2);
  let asked = 0;
  open({ tokenProvider: () => (++asked < 4 ? token : jwt("u", 3600)) });
  const peer = await server.peer(1);
  await peer.welcome(0);
  assert.notEqual((await peer.frame("renew"))["token"], token);
  assert.equal(asked, 4);
  assert.equal(peer.heard.filter(({ type }) => type === "renew").length, 1);
});

test("a clock that is ahead does not make a client ask for tokens without end", async () => {
  let asked = 0;
  const { client } = open({ tokenProvider: () => jwt("u", -600 - asked++) });
  await (await server.peer(1)).welcome(0);
  for (let n = 0; n < 3; n += 1) await client.inbox.counters();
  assert.equal(asked, 1);
});

test("a provider that fails is asked again", async () => {
  let asked = 0;
  const { errors } = open({
    tokenProvider: () => {
      asked += 1;
      if (asked < 3) throw new Error("backend down");
      return "user:u";
    },
  });
  await (await server.peer(1)).welcome(0);
  assert.deepEqual(errors.map(({ code, fatal }) => [code, fatal]), [["unauthenticated", false], ["unauthenticated", false]]);
});

test("a server that falls silent is left", async () => {
  open({ lastSeq: 5, timeouts: { pongMs: 20 } });
  const first = await server.peer(1);
  await first.welcome(5, { heartbeat_ms: 30 });
  await first.frame("ping");
  assert.equal((await (await server.peer(2)).welcome(5))["last_seq"], 5);
});

test("a ping is answered, and a server that answers pings is kept", async () => {
  const { client } = open();
  const peer = await server.peer(1);
  await peer.welcome(0, { heartbeat_ms: 200 });
  peer.socket.on("message", (data) => {
    if (String(data).includes('"ping"')) peer.say({ type: "pong" });
  });
  peer.say({ type: "ping" });
  await peer.frame("pong");
  await until("three pings", () => peer.heard.filter(({ type }) => type === "ping").length >= 3);
  assert.equal(server.peers.length, 1);
  assert.equal(client.state, "live");
});

test("a server that never welcomes is left", async () => {
  open({ timeouts: { connectMs: 30 } });
  await server.peer(2);
});

test("frames and fields of a later version are ignored", async () => {
  const { client, seqs, reached, errors } = open({ lastSeq: 0 });
  const peer = await server.peer(1);
  await peer.welcome(0, { later: true });
  peer.say({ type: "wave", seq: 9 });
  peer.notify(1);
  await reached(1);
  assert.deepEqual(seqs, [1]);
  assert.deepEqual(errors, []);
  assert.equal(client.state, "live");
});

test("what a server says of a refused frame is an error that ends nothing", async () => {
  const { client, errors } = open();
  const peer = await server.peer(1);
  await peer.welcome(0);
  peer.say({ type: "error", reason: "the store is not available; say it again" });
  peer.say({ type: "error" });
  await until("two errors", () => errors.length === 2);
  assert.deepEqual(errors.map(({ message }) => message), ["the store is not available; say it again", "the server refused a frame"]);
  assert.equal(client.state, "live");
});

test("a ticket is said at the next hello in place of the token, and the newest counts", async () => {
  let asked = 0;
  const { client } = open({ lastSeq: 3, device: "laptop", tokenProvider: () => `token ${++asked}` });
  const first = await server.peer(1);
  await first.welcome(3, { ticket: "first" });
  first.socket.terminate();
  const second = await server.peer(2);
  assert.deepEqual(await second.welcome(3, { ticket: "second" }), { type: "hello", ticket: "first", last_seq: 3, device: "laptop" });
  second.socket.terminate();
  assert.equal((await (await server.peer(3)).welcome(3))["ticket"], "second");
  await until("live", () => client.state === "live");
  assert.equal(asked, 1);
});

for (const code of [4400, 4401, 4403]) {
  test(`a ticket that is answered with ${code} is given up for the token, at once and without an error`, async () => {
    const { errors } = open({ backoff: { baseMs: 60_000, capMs: 60_000 } });
    const first = await server.peer(1);
    await first.welcome(0, { ticket: "old" });
    first.say({ type: "bye", reason: "stopping", retry_ms: 1 });
    first.socket.close(1012);
    const second = await server.peer(2);
    assert.equal((await second.frame("hello"))["ticket"], "old");
    second.socket.close(code, "not this ticket");
    const hello = await (await server.peer(3)).welcome(0);
    assert.deepEqual([hello["token"], hello["ticket"]], ["user:u", undefined]);
    assert.deepEqual(errors, []);
  });
}

test("a ticket outlasts attempts that do not reach the server, and a node that has no room", async () => {
  const { client } = open();
  await (await server.peer(1)).welcome(0, { ticket: "kept" });
  const { port } = server;
  await server.stop();
  await until("waiting", () => client.state === "waiting");
  server = await FakeServer.start(port);
  const full = await server.peer(1);
  assert.equal((await full.frame("hello"))["ticket"], "kept");
  full.socket.close(1012, "no room");
  assert.equal((await (await server.peer(2)).welcome(0))["ticket"], "kept");
});

test("a ticket that gets no answer is not said again", async () => {
  open();
  const first = await server.peer(1);
  await first.welcome(0, { ticket: "odd" });
  first.socket.terminate();
  const second = await server.peer(2);
  assert.equal((await second.frame("hello"))["ticket"], "odd");
  second.socket.terminate();
  assert.equal((await (await server.peer(3)).welcome(0))["token"], "user:u");
});

test("4401 in a session that a ticket opened asks for another token", async () => {
  let asked = 0;
  open({ tokenProvider: () => `token ${++asked}` });
  const first = await server.peer(1);
  await first.welcome(0, { ticket: "t" });
  first.socket.terminate();
  const second = await server.peer(2);
  await second.welcome(0, { ticket: "u" });
  second.socket.close(4401, "revoked");
  assert.equal((await (await server.peer(3)).welcome(0))["token"], "token 2");
});

test("a server that was set back takes the client with it", async () => {
  const { client, seqs, reached } = open({ lastSeq: 50 });
  const resets: unknown[] = [];
  client.on("reset", (reset) => resets.push(reset));
  const peer = await server.peer(1);
  await peer.welcome(7);
  peer.notify(8);
  await reached(8);
  assert.deepEqual(seqs, [8]);
  assert.deepEqual(resets, [{ reason: "rewound", seq: 7 }]);
});

test("what the server has forgotten is no gap", async () => {
  const { client, seqs, reached } = open({ lastSeq: 2 });
  const resets: unknown[] = [];
  client.on("reset", (reset) => resets.push(reset));
  const peer = await server.peer(1);
  await peer.welcome(12, { forgotten_seq: 10 });
  peer.notify(11, 12);
  await reached(12);
  assert.deepEqual(seqs, [11, 12]);
  assert.deepEqual(resets, [{ reason: "forgotten", seq: 10 }]);
  assert.equal(server.peers.length, 1);
});

test("unread counts what is new, once, and follows updates", async () => {
  const { client, reached } = open({ lastSeq: 0 });
  const peer = await server.peer(1);
  await peer.welcome(2, { unread: 2 });
  peer.notify(1, 2, 3);
  await reached(3);
  assert.equal(client.unread, 3);
  peer.say({ type: "update", read: { up_to_seq: 3 }, unread: 0 });
  await until("none unread", () => client.unread === 0);
});

test("a mark made while the server is away is sent when it is back, and marks that wait are joined", async () => {
  const { client } = open();
  await (await server.peer(1)).welcome(0);
  const { port } = server;
  await server.stop();
  const reads = [client.read({ upToSeq: 3 }), client.read({ upToSeq: 9 }), client.read({ upToSeq: 5 })];
  server = await FakeServer.start(port);
  await (await server.peer(1)).welcome(9);
  await Promise.all(reads);
  const bodies = server.requests.map(({ method, url, body }) => `${method} ${url} ${body}`);
  assert.deepEqual(bodies, [
    'POST /v1/users/me/notifications/read {"up_to_seq":3}',
    'POST /v1/users/me/notifications/read {"up_to_seq":9}',
  ]);
});

test("a mark that is refused for what it is holds nothing up", async () => {
  server.onRequest = (_request, body, answer) => {
    const good = body.includes("up_to_seq");
    answer.writeHead(good ? 200 : 400, { "content-type": "application/json" });
    answer.end(JSON.stringify(good ? { unread: 4, last_seq: 4 } : { type: "t", title: "bad", status: 400, detail: "no such id" }));
  };
  const { client } = open();
  const bad = client.read(["nonsense"]);
  const good = client.archive({ upToSeq: 1 });
  await assert.rejects(bad, { name: "TidingsError", message: "no such id" });
  assert.equal((await good).unread, 4);
  assert.equal(client.unread, 4);
});

test("a server that asks for a pause is not asked again within it, whatever is marked", async (context) => {
  server.onRequest = (_request, _body, answer) => {
    answer.writeHead(503, { "content-type": "application/problem+json", "retry-after": "30" });
    answer.end(JSON.stringify({ type: "t", title: "busy", status: 503, detail: "later" }));
  };
  const { client } = open();
  await (await server.peer(1)).welcome(0);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const first = client.read({ upToSeq: 1 });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const settled = async (n: number) => {
    for (const end = Date.now() + 30_000; server.requests.length < n && Date.now() < end; ) await turn();
    for (let more = 0; more < 50; more += 1) await turn();
    assert.equal(server.requests.length, n);
  };
  await settled(1);
  const second = client.seen({ upToSeq: 2 });
  context.mock.timers.tick(29_000);
  await settled(1);
  server.onRequest = (_request, _body, answer) => void answer.end(JSON.stringify({ unread: 0 }));
  context.mock.timers.tick(2_000);
  await settled(3);
  await Promise.all([first, second]);
});

test("marks that wait are bounded", async () => {
  server.onRequest = () => undefined;
  const { client } = open();
  const all = Array.from({ length: 300 }, (_, n) =>
    client[n % 2 ? "read" : "seen"]({ upToSeq: n }).catch((error: TidingsError) => error.code),
  );
  assert.equal(client.waiting, 256);
  client.close();
  const codes = await Promise.all(all);
  // Of the 44 that found no room, every second one was of the kind of the last, and joined it.
  assert.equal(codes.filter((code) => code === "queue-full").length, 22);
  assert.equal(codes.filter((code) => code === "closed").length, 278);
});

test("a page is asked for with the token, and one that expired is renewed once", async () => {
  let asked = 0;
  server.onRequest = (request, _body, answer) => {
    const good = request.headers.authorization === "Bearer token 2";
    answer.writeHead(good ? 200 : 401, { "content-type": "application/json" });
    answer.end(JSON.stringify(good ? { items: [], unread: 0, last_seq: 0 } : { status: 401, title: "t", detail: "d", type: "x" }));
  };
  const { client } = open({ tokenProvider: () => `token ${++asked}` });
  const page = await client.inbox.page({ limit: 10, cursor: "40" });
  assert.deepEqual(page.items, []);
  assert.equal(server.requests.at(-1)?.url, "/v1/users/me/notifications?limit=10&cursor=40");
});

test("a reader that is behind pauses the client and misses nothing", async () => {
  const { client } = open({ lastSeq: 0 });
  const stream = client.notifications();
  const first = await server.peer(1);
  await first.welcome(1_500);
  first.notify(...Array.from({ length: 1_100 }, (_, n) => n + 1));
  await until("paused", () => client.state === "paused");
  const seqs: number[] = [];
  const reading = (async () => {
    for await (const { seq } of stream) if (seqs.push(seq) === 1_500) break;
  })();
  const second = await server.peer(2);
  const from = Number((await second.welcome(1_500))["last_seq"]);
  second.notify(...Array.from({ length: 1_500 - from }, (_, n) => from + n + 1));
  await reading;
  assert.deepEqual(seqs, Array.from({ length: 1_500 }, (_, n) => n + 1));
});

test("a kept cursor is where the next client begins", async () => {
  let kept: number | undefined;
  const storage = { load: () => kept, save: (seq: number) => void (kept = seq) };
  const { client, reached } = open({ lastSeq: 3, storage });
  const peer = await server.peer(1);
  await peer.welcome(4);
  peer.notify(4);
  await reached(4);
  client.close();
  open({ storage });
  assert.equal((await (await server.peer(2)).welcome(4))["last_seq"], 4);
});

test("a client that goes on from a kept place says where it began", async () => {
  const kept = new Map<string, string>();
  const localStorage = { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, text: string) => void kept.set(key, text) };
  Object.defineProperty(globalThis, "localStorage", { value: localStorage, configurable: true });
  try {
    const storage = localStorageCursor("ann");
    const { client, reached } = open({ storage });
    const first = await server.peer(1);
    await first.welcome(7);
    first.notify(8);
    await reached(8);
    assert.deepEqual([kept.get("ann"), client.afterSeq], ["8:7", 7]);
    client.close();
    open({ storage });
    const hello = await (await server.peer(2)).welcome(8);
    assert.deepEqual([hello["last_seq"], hello["after_seq"]], [8, 7]);
    // One that has the whole inbox has nothing to say, and a number alone tells nothing of what came before.
    kept.set("ann", "8:0");
    open({ storage });
    assert.equal("after_seq" in (await (await server.peer(3)).welcome(8)), false);
    open({ storage: { load: () => 8, save: () => undefined } });
    assert.equal((await (await server.peer(4)).welcome(8))["after_seq"], 8);
    open({ lastSeq: 8, afterSeq: 5 });
    assert.equal((await (await server.peer(5)).welcome(8))["after_seq"], 5);
  } finally {
    Reflect.deleteProperty(globalThis, "localStorage");
  }
});

test("a closed client is silent and ends its readers", async () => {
  const { client } = open();
  await (await server.peer(1)).welcome(0);
  await until("live", () => client.state === "live");
  const stream = client.notifications();
  client.close();
  assert.equal((await stream.next()).done, true);
  assert.equal(client.state, "closed");
  await assert.rejects(client.read({ upToSeq: 1 }), { code: "closed" });
  await until("the socket's end", () => server.peers[0]?.closed);
  assert.equal(server.peers.length, 1);
});

test("closing a client that an error has ended tells the marks that wait", async () => {
  server.onRequest = () => undefined;
  const { client } = open();
  const read = client.read({ upToSeq: 1 });
  (await server.peer(1)).socket.close(4403, "no");
  await until("the end", () => client.state === "closed");
  client.close();
  await assert.rejects(read, { code: "closed" });
});

test("a listener that throws stops neither the others nor the session", async (context) => {
  const { client, reached } = open({ lastSeq: 0 });
  const thrown: unknown[] = [];
  const keep = (error: unknown) => thrown.push(error);
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", keep);
  context.after(() => {
    process.off("uncaughtException", keep);
    for (const other of others) process.on("uncaughtException", other);
  });
  client.on("notification", () => {
    throw new Error("of the app");
  });
  const peer = await server.peer(1);
  await peer.welcome(0);
  peer.notify(1, 2);
  await reached(2);
  await until("both errors", () => thrown.length === 2);
});
