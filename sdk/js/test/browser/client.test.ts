import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type * as Sdk from "../../src/index.js";
import { jwt } from "../support/jwt.js";
import { SECRET, Site } from "../support/node.js";
import { PageServer, launch } from "../support/page.js";
import { until } from "../support/until.js";

const TOML = `[auth.tokens]\nhs256_secret = "${SECRET}"\nleeway_secs = 0\n[realtime]\nheartbeat_ms = 120000\n`;

declare global {
  interface Window {
    seqs: number[];
    states: Sdk.State[];
    client: Sdk.TidingsClient;
    freshToken(): Promise<string>;
  }
}

let site: Site;
let server: PageServer;
let browser: Browser;
let context: BrowserContext;

before(async () => {
  site = await Site.start(TOML);
  server = await PageServer.start(site);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await site?.remove();
});
afterEach(() => context?.close());

interface PageOptions {
  readonly seconds?: number;
  readonly shareTabs?: boolean;
  readonly from?: BrowserContext;
  /** Time that can be moved. */
  readonly clock?: boolean;
}

async function openPage(user: string, options: PageOptions = {}): Promise<Page> {
  context = options.from ?? (await browser.newContext());
  const page = await context.newPage();
  await page.exposeFunction("freshToken", () => jwt(user, options.seconds ?? 3600, SECRET));
  if (options.clock) await page.clock.install();
  await page.goto(server.url);
  await page.evaluate(async (shareTabs) => {
    const path = "/dist/index.js";
    const { connect } = (await import(path)) as typeof Sdk;
    const tokenProvider = () => window.freshToken();
    window.seqs = [];
    window.client = connect({ url: "/", tokenProvider, lastSeq: 0, shareTabs, backoff: { baseMs: 20, capMs: 200 }, timeouts: { pongMs: 500 } });
    window.client.on("notification", ({ seq }) => window.seqs.push(seq));
  }, options.shareTabs ?? false);
  await live(page);
  return page;
}

const seqs = (page: Page) => page.evaluate(() => window.seqs);
const state = (page: Page) => page.evaluate(() => window.client.state);
const live = (page: Page) => until("live", async () => (await state(page)) === "live");
const to = (n: number) => Array.from({ length: n }, (_, index) => index + 1);

async function reached(page: Page, n: number): Promise<void> {
  await until(`seq ${n}`, async () => (await seqs(page)).at(-1) === n);
  assert.deepEqual(await seqs(page), to(n));
}

test("a page gets what was there and what happens", async () => {
  await site.tell("ann", 2);
  const page = await openPage("ann");
  await reached(page, 2);
  await site.tell("ann", 2);
  await reached(page, 4);
});

test("a page lives through a node that is killed and started again", async () => {
  const page = await openPage("bob");
  await site.tell("bob", 2);
  await reached(page, 2);
  await site.kill();
  await until("the loss to be seen", async () => (await state(page)) !== "live");
  await site.start();
  await site.tell("bob", 2);
  await reached(page, 4);
});

test("a page that was offline gets what it missed, and sends what was read meanwhile", async () => {
  const page = await openPage("cat");
  await site.tell("cat", 2);
  await reached(page, 2);
  await context.setOffline(true);
  await until("offline", async () => (await state(page)) === "offline");
  await page.evaluate(() => void window.client.read({ upToSeq: 2 }));
  await site.tell("cat", 3);
  assert.deepEqual(await seqs(page), [1, 2]);
  await context.setOffline(false);
  await reached(page, 5);
  await until("the mark", () => page.evaluate(() => window.client.waiting === 0 && window.client.unread === 3));
});

test("a laptop that wakes in another network finds its dead connection", async () => {
  const page = await openPage("cid", { clock: true });
  await site.tell("cid", 1);
  await reached(page, 1);
  server.silence();
  await site.tell("cid", 2);
  await page.clock.fastForward("10:00");
  await reached(page, 3);
});

test("a page outlives its tokens", async () => {
  const page = await openPage("dan", { seconds: 2 });
  const since = Date.now();
  await until("the end of two tokens", () => Date.now() - since > 4_500);
  await site.tell("dan", 2);
  await reached(page, 2);
});

test("two tabs share one socket, and the one that stays takes it over without a hole", async () => {
  const first = await openPage("eve", { shareTabs: true });
  const second = await openPage("eve", { shareTabs: true, from: context });
  assert.equal(server.streams.size, 1);
  await site.tell("eve", 3);
  await reached(first, 3);
  await reached(second, 3);
  await first.close();
  await site.tell("eve", 3);
  await reached(second, 6);
  assert.equal(server.streams.size, 1);
  const third = await openPage("eve", { shareTabs: true, from: context });
  await reached(third, 6);
  await site.tell("eve", 1);
  await reached(second, 7);
  await reached(third, 7);
  await until("one unread count", async () => {
    const counts = await Promise.all([second, third].map((page) => page.evaluate(() => window.client.unread)));
    return counts.every((count) => count === 7);
  });
  assert.equal(server.streams.size, 1);
});

test("a tab that takes over while much happens misses and repeats nothing", async () => {
  const first = await openPage("fay", { shareTabs: true });
  const second = await openPage("fay", { shareTabs: true, from: context });
  const third = await openPage("fay", { shareTabs: true, from: context });
  await third.evaluate(() => {
    window.states = [];
    window.client.on("state", (state) => window.states.push(state));
  });
  const telling = site.tell("fay", 150);
  await until("a third of it", async () => ((await seqs(second)).at(-1) ?? 0) >= 50);
  await first.close();
  await until("two thirds of it", async () => ((await seqs(third)).at(-1) ?? 0) >= 100);
  await second.close();
  await telling;
  await reached(third, 150);
  assert.equal((await third.evaluate(() => window.states)).includes("closed"), false);
});

test("tabs of two users do not share", async () => {
  const first = await openPage("flo", { shareTabs: true });
  const second = await openPage("gus", { shareTabs: true, from: context });
  assert.equal(server.streams.size, 2);
  await site.tell("flo", 1);
  await reached(first, 1);
  assert.deepEqual(await seqs(second), []);
});
