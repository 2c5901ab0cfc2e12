import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ConnectOptions, TidingsClient } from "../../src/index.js";
import { UnreadCount } from "../../src/unread.js";
import { openClient } from "../support/client.js";
import { FakeServer, notification } from "../support/server.js";
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

/** Holds the answer to the next request until it is given. */
function holdAnswer(): (counters: { unread: number; last_seq: number }) => void {
  let give: (text: string) => void = () => assert.fail("nothing was asked");
  server.onRequest = (_request, _body, answer) => (give = (text) => void answer.end(text));
  return (counters) => give(JSON.stringify({ acked_seq: 0, forgotten_seq: 0, ...counters }));
}

test("an answer that a newer count has overtaken changes nothing", async () => {
  const answer = holdAnswer();
  const { client, reached } = open({ lastSeq: 5 });
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  const read = client.read({ upToSeq: 1 });
  await until("the request", () => server.requests.length === 1);
  peer.notify(6, 7);
  await reached(7);
  peer.say({ type: "update", read: { up_to_seq: 6 }, unread: 1, seq: 7 });
  await until("the update", () => client.unread === 1);
  answer({ unread: 4, last_seq: 5 });
  assert.equal((await read).unread, 4);
  assert.equal(client.unread, 1);
});

test("an answer from before a notification does not take that notification from the count", async () => {
  const answer = holdAnswer();
  const { client, reached } = open({ lastSeq: 5 });
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  const read = client.read({ upToSeq: 5 });
  await until("the request", () => server.requests.length === 1);
  peer.notify(6);
  await reached(6);
  answer({ unread: 0, last_seq: 5 });
  await read;
  assert.equal(client.unread, 1);
});

test("a notification that an answer has counted is not counted again", async () => {
  const answer = holdAnswer();
  const { client, reached } = open({ lastSeq: 5 });
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  const read = client.read({ upToSeq: 5 });
  await until("the request", () => server.requests.length === 1);
  answer({ unread: 1, last_seq: 6 });
  await read;
  peer.notify(6, 7);
  await reached(7);
  assert.equal(client.unread, 2);
});

test("a notification that an update has counted is not counted again", async () => {
  const { client, reached } = open({ lastSeq: 5 });
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  peer.say({ type: "update", read: { up_to_seq: 5 }, unread: 2, seq: 7 });
  peer.notify(6, 7);
  await reached(7);
  assert.equal(client.unread, 2);
  peer.notify(8);
  await reached(8);
  assert.equal(client.unread, 3);
});

test("an update that says no seq counts what has arrived", async () => {
  const { client, reached } = open({ lastSeq: 5 });
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  peer.notify(6);
  await reached(6);
  peer.say({ type: "update", unread: 1 });
  peer.notify(7);
  await reached(7);
  assert.equal(client.unread, 2);
});

test("counts are told apart by age, whichever way they come", () => {
  const count = new UnreadCount();
  const arrive = (seq: number) => count.arrived({ type: "notification", seq, notification: notification(seq) });
  count.begin(3, 10);
  arrive(11);
  count.told(1, 10);
  assert.equal(count.unread, 2);
  count.told(1, 12);
  count.told(9, 11);
  arrive(12);
  assert.equal(count.unread, 1);
  // The server was set back.
  count.begin(4, 2);
  arrive(3);
  assert.equal(count.unread, 5);
});
