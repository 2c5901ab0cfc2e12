import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ConnectOptions, TidingsClient } from "../../src/index.js";
import { openClient } from "../support/client.js";
import { FakeServer } from "../support/server.js";

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

test("a mark outlasts a provider that fails, and is sent when there is a token", async () => {
  let asked = 0;
  const tokenProvider = () => {
    if (++asked < 4) throw new Error("backend down");
    return "user:u";
  };
  const { client } = open({ tokenProvider });
  await client.read({ upToSeq: 3 });
  assert.deepEqual(server.requests.map(({ token, body }) => [token, body]), [["Bearer user:u", '{"up_to_seq":3}']]);
});

test("a mark outlasts an answer that breaks off", async () => {
  server.onRequest = (_request, _body, answer) => {
    if (server.requests.length > 1) return void answer.end(JSON.stringify({ unread: 0, last_seq: 3 }));
    answer.writeHead(200, { "content-type": "application/json", "content-length": "100" });
    answer.write('{"unread":', () => answer.destroy());
  };
  const { client } = open();
  assert.equal((await client.read({ upToSeq: 3 })).last_seq, 3);
  assert.equal(server.requests.length, 2);
});

test("what fails on the way is a TidingsError with its cause", async () => {
  const late = new DOMException("too late", "TimeoutError");
  const body = () => new ReadableStream({ start: (stream) => stream.error(late) });
  const slow = open({ fetch: async () => new Response(body()) });
  await assert.rejects(slow.client.inbox.counters(), { name: "TidingsError", code: "network", cause: late });
  const down = new Error("backend down");
  const without = open({ tokenProvider: () => Promise.reject(down) });
  await assert.rejects(without.client.inbox.counters(), { name: "TidingsError", code: "network", cause: down });
});
