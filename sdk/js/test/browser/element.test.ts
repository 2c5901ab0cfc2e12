// The component against a server that does what a test tells it.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type * as Sdk from "../../src/index.js";
import type { TidingsInbox } from "../../src/inbox/index.js";
import { PageServer, launch } from "../support/page.js";
import { FakeServer, notification } from "../support/server.js";
import { until } from "../support/until.js";

let browser: Browser;
let server: FakeServer;
let pages: PageServer;
let page: Page;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());
beforeEach(async () => {
  server = await FakeServer.start();
  pages = await PageServer.start(server);
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 800, height: 900 } });
  page = await context.newPage();
  await page.goto(pages.url);
  await page.evaluate(async () => {
    const path = "/dist/inbox/index.js";
    await import(path);
    document.querySelector("#place")!.innerHTML = `<tidings-inbox url="/" token="user:u"></tidings-inbox>`;
  });
});
afterEach(async () => {
  await page?.context().close();
  await pages?.stop();
  await server?.stop();
});

/** Gives the newest 20 of an inbox of `seq`. */
function givePage(answer: ServerResponse, seq: number): void {
  const items = Array.from({ length: Math.min(seq, 20) }, (_, n) => notification(seq - n));
  answer.writeHead(200, { "content-type": "application/json" });
  answer.end(JSON.stringify({ items, last_seq: seq, unread: seq, next: null }));
}

const inboxOf = (seq: number) => (server.onRequest = (_request, _body, answer) => givePage(answer, seq));
const bell = () => page.locator(".bell");
const titles = () => page.locator(".item .title").allTextContents();
const lines = (n: number) => until(`${n} lines`, async () => (await titles()).length === n);
const asked = () => server.requests.filter(({ url }) => url.includes("/notifications?")).length;
const focused = () => page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.getAttribute("part") ?? null);
/** Renders the panel, as any event of the client does. */
const render = () => page.evaluate(() => (document.querySelector<TidingsInbox>("tidings-inbox")!.strings = {}));
const label = (text: string) => until(text, async () => (await bell().getAttribute("aria-label")) === text);

test("what was stored between the first page and the first welcome is shown", async () => {
  inboxOf(10);
  await bell().click();
  await lines(10);
  inboxOf(11);
  await (await server.peer(1)).welcome(11, { unread: 11 });
  await lines(11);
  assert.equal(asked(), 2);
});

test("what was stored before a welcome that overtakes the first page is shown", async () => {
  const waiting: ServerResponse[] = [];
  server.onRequest = (_request, _body, answer) => void waiting.push(answer);
  await bell().click();
  await until("the request", () => waiting.length === 1);
  await (await server.peer(1)).welcome(11, { unread: 11 });
  await label("Notifications, 11 unread");
  inboxOf(11);
  givePage(waiting[0]!, 10);
  await lines(11);
});

test("a first page that has it all is loaded once", async () => {
  inboxOf(10);
  await bell().click();
  await lines(10);
  const peer = await server.peer(1);
  await peer.welcome(10, { unread: 10 });
  await label("Notifications, 10 unread");
  peer.notify(11);
  await lines(11);
  assert.equal(asked(), 1);
});

test("signing out leaves nothing of the user", async () => {
  inboxOf(2);
  const peer = await server.peer(1);
  await peer.welcome(1, { unread: 1 });
  await bell().click();
  await lines(2);
  peer.notify(2);
  await label("Notifications, 2 unread");
  await page.keyboard.press("Escape");
  await page.evaluate(() => document.querySelector("tidings-inbox")!.removeAttribute("token"));
  await label("Notifications");
  assert.equal(await page.locator(".badge").isVisible(), false);
  assert.deepEqual(await titles(), []);
  assert.equal(await page.locator("[role=status]").textContent(), "");
  await until("the end of the session", () => peer.closed);
});

test("only a client that the element has made is closed by it", async () => {
  await (await server.peer(1)).welcome(0);
  const states = await page.evaluate(async () => {
    const path = "/dist/index.js";
    const { connect } = (await import(path)) as typeof Sdk;
    const inbox = document.querySelector<TidingsInbox>("tidings-inbox")!;
    const own = inbox.client!;
    const [a, b] = ["a", "b"].map((name) => connect({ url: "/", token: `user:${name}` }));
    const seen: string[] = [];
    for (const client of [a, b, undefined]) {
      inbox.client = client;
      await new Promise((resolve) => setTimeout(resolve));
      seen.push([own, a, b].map((one) => (one!.state === "closed" ? "closed" : "open")).join(" "));
    }
    return seen;
  });
  assert.deepEqual(states, ["closed open open", "closed open open", "closed open open"]);
});

test("the button to try again keeps the keyboard, and hands it on when it goes", async () => {
  server.onRequest = (_request, _body, answer) => void answer.writeHead(500).end("{}");
  await (await server.peer(1)).welcome(0);
  await bell().click();
  await page.getByRole("button", { name: "Try again" }).focus();
  await render();
  assert.equal(await focused(), "retry");
  inboxOf(3);
  await page.keyboard.press("Enter");
  await lines(3);
  assert.equal(await focused(), "mark-all");
  assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0);
});

test("a list that is rendered anew stays where it was scrolled to, with the keyboard on its line", async () => {
  inboxOf(20);
  await (await server.peer(1)).welcome(20);
  await bell().click();
  await lines(20);
  await page.keyboard.press("Home");
  const end = await page.locator(".scroll").evaluate((scroll) => (scroll.scrollTo(0, scroll.scrollHeight), scroll.scrollTop));
  assert.ok(end > 0);
  await render();
  assert.equal(await page.locator(".scroll").evaluate((scroll) => scroll.scrollTop), end);
  assert.equal(await focused(), "item");
});
