// Tabs that share a socket, against a server that does what a test tells it.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type * as Sdk from "../../src/index.js";
import { PageServer, launch } from "../support/page.js";
import { FakeServer } from "../support/server.js";
import { until } from "../support/until.js";

let browser: Browser;
let server: FakeServer;
let pages: PageServer;
let context: BrowserContext;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  server = await FakeServer.start();
  pages = await PageServer.start(server);
  context = await browser.newContext();
});
afterEach(async () => {
  await context?.close();
  await pages?.stop();
  await server?.stop();
});

async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(pages.url);
  await page.evaluate(async () => {
    const path = "/dist/index.js";
    const { connect } = (await import(path)) as typeof Sdk;
    window.client = connect({ url: "/", token: "user:u", shareTabs: true });
  });
  return page;
}

const stands = (page: Page) => page.evaluate(() => `${window.client.lastSeq}: ${window.client.unread} unread`);
const standsAt = (page: Page, text: string) => until(text, async () => (await stands(page)) === text);

test("a tab that comes later counts what the others count, each once", async () => {
  const first = await openTab();
  const peer = await server.peer(1);
  await peer.welcome(5, { unread: 5 });
  peer.notify(6);
  await standsAt(first, "6: 6 unread");
  peer.say({ type: "update", read: { up_to_seq: 6 }, unread: 2, seq: 8 });
  await standsAt(first, "6: 2 unread");
  const second = await openTab();
  await standsAt(second, "6: 2 unread");
  peer.notify(7, 8, 9);
  for (const page of [first, second]) await standsAt(page, "9: 3 unread");
  assert.equal(server.peers.length, 1);
});
