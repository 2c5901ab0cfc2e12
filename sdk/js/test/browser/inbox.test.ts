import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { TidingsInbox } from "../../src/inbox/index.js";
import { violations } from "../support/axe.js";
import { Site } from "../support/node.js";
import { PageServer, launch } from "../support/page.js";
import { until } from "../support/until.js";

let site: Site;
let server: PageServer;
let browser: Browser;
let page: Page;

before(async () => {
  site = await Site.start();
  server = await PageServer.start(site);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await site?.remove();
});
afterEach(() => page?.context().close());

async function openPage(user: string): Promise<void> {
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 800, height: 900 } });
  page = await context.newPage();
  await page.goto(server.url);
  await page.evaluate(async (token) => {
    const path = "/dist/inbox/index.js";
    await import(path);
    document.querySelector("#place")!.innerHTML = `<tidings-inbox url="/" token="${token}"></tidings-inbox>`;
  }, `user:${user}`);
  await live();
}

const live = () =>
  until("live", () => page.evaluate(() => document.querySelector<TidingsInbox>("tidings-inbox")?.client?.state === "live"));
const bell = () => page.locator(".bell");
const titles = () => page.locator(".item .title").allTextContents();
/** The title of the line that has the keyboard, or what else has it. `innerText` depends on the layout. */
const focusedLine = () =>
  page.evaluate(() => {
    const active = document.activeElement?.shadowRoot?.activeElement;
    return active?.querySelector(".title")?.textContent ?? `no line: ${active?.outerHTML ?? document.activeElement?.tagName}`;
  });
const label = (text: string) => until(text, async () => (await bell().getAttribute("aria-label")) === text);

test("the bell counts what is unread as it arrives, and says it", async () => {
  await openPage("ann");
  await label("Notifications");
  await site.tell("ann", 2);
  await label("Notifications, 2 unread");
  assert.equal(await page.locator(".badge").innerText(), "2");
  assert.match((await page.locator("[role=status]").textContent()) ?? "", /^New notification: title of e/);
});

test("the panel lists what there is, and marks one and all as read", async () => {
  await site.tell("bob", 3);
  await openPage("bob");
  await bell().click();
  await until("three lines", async () => (await titles()).length === 3);
  await page.locator(".mark").first().click();
  await label("Notifications, 2 unread");
  await page.getByRole("button", { name: "Mark all as read" }).click();
  await label("Notifications");
  assert.equal(await page.locator("li.unread").count(), 0);
});

test("what arrives while the panel is open comes on top, and the keyboard stays where it is", async () => {
  await site.tell("cat", 2);
  await openPage("cat");
  await bell().click();
  await until("two lines", async () => (await titles()).length === 2);
  await page.keyboard.press("Tab");
  const before = await focusedLine();
  assert.match(before, /title of/);
  await site.tell("cat", 1);
  await until("three lines", async () => (await titles()).length === 3);
  assert.equal(await focusedLine(), before);
});

test("the keyboard opens, walks, opens a notification, and closes", async () => {
  await site.tell("dan", 3);
  await openPage("dan");
  await bell().focus();
  await page.keyboard.press("Enter");
  await until("three lines", async () => (await titles()).length === 3);
  const [first, second, third] = await titles();
  await page.keyboard.press("Home");
  assert.equal(await focusedLine(), first);
  await page.keyboard.press("ArrowDown");
  assert.equal(await focusedLine(), second);
  await page.keyboard.press("End");
  assert.equal(await focusedLine(), third);
  await page.keyboard.press("Enter");
  await label("Notifications, 2 unread");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".panel").isVisible(), false);
  assert.equal(await bell().getAttribute("aria-expanded"), "false");
  assert.equal(await page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.className), "bell");
});

test("the panel opens to the side where there is room", async () => {
  await openPage("pia");
  for (const side of ["left", "right"]) {
    await page.evaluate((side) => (document.querySelector<HTMLElement>("#place")!.style.float = side), side);
    await bell().click();
    const box = await page.locator(".panel").boundingBox();
    assert.ok(box && box.x >= 0 && box.x + box.width <= 800, `${side}: ${JSON.stringify(box)}`);
    await page.keyboard.press("Escape");
  }
});

test("Tab stays in the open panel", async () => {
  await site.tell("eli", 1);
  await openPage("eli");
  await bell().click();
  await until("a line", async () => (await titles()).length === 1);
  for (let n = 0; n < 7; n += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement?.shadowRoot?.activeElement?.closest(".panel") !== null));
  }
});

test("no notification runs script or brings markup", async () => {
  await site.tell("eve", 1, { title: "<img src=x onerror=alert(1)>", object: { type: "post", id: "p", url: "javascript:alert(1)" } });
  await site.tell("eve", 1, { object: { type: "post", id: "p", url: "app://posts/p" } });
  await openPage("eve");
  await bell().click();
  await until("two lines", async () => (await titles()).length === 2);
  assert.equal(await page.locator(".panel img").count(), 0);
  assert.equal(await page.locator(".panel a").count(), 0);
  await page.evaluate(() => {
    const inbox = document.querySelector<TidingsInbox>("tidings-inbox")!;
    inbox.resolveLink = ({ object }) => object!.url!.replace("app://", "https://app.example/");
    inbox.strings = { title: "Neues" };
  });
  assert.deepEqual(await page.locator("a.item").evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).href)), ["https://app.example/posts/p"]);
  assert.equal(await page.locator("h2").innerText(), "Neues");
});

test("the page may navigate by itself", async () => {
  await site.tell("flo", 1, { object: { type: "post", id: "p", url: "/posts/p" } });
  await openPage("flo");
  await page.evaluate(() => {
    document.addEventListener("tidings-navigate", (event) => {
      event.preventDefault();
      document.title = (event as CustomEvent<{ url: string }>).detail.url;
    });
  });
  await bell().click();
  await page.locator("a.item").click();
  assert.equal(await page.title(), `${server.url}posts/p`);
  assert.equal(page.url(), server.url);
});

test("scrolling loads more, down to the oldest", async () => {
  await site.tell("gus", 45);
  await openPage("gus");
  await bell().click();
  await until("all 45", async () => {
    await page.locator(".scroll").evaluate((scroll) => scroll.scrollTo(0, scroll.scrollHeight));
    return (await titles()).length === 45;
  });
  assert.equal(new Set(await titles()).size, 45);
});

test("empty, offline and failed say so, and failed can be tried again", async () => {
  await openPage("hal");
  await bell().click();
  await page.getByText("Nothing here yet").waitFor();
  await page.context().setOffline(true);
  await page.getByText("You are offline").waitFor();
  await page.context().setOffline(false);
  await page.getByText("You are offline").waitFor({ state: "hidden" });
  await page.keyboard.press("Escape");
  await page.route("**/v1/users/me/notifications?*", (route) => route.fulfill({ status: 500, body: "{}" }));
  await page.evaluate(() => document.querySelector("tidings-inbox")!.setAttribute("token", "user:ida"));
  await live();
  await bell().click();
  await page.getByText("could not be loaded").waitFor();
  await page.unroute("**/v1/users/me/notifications?*");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("Nothing here yet").waitFor();
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`axe finds nothing to mend in ${colorScheme} colours`, async () => {
    const user = `axe-${colorScheme}`;
    await site.tell(user, 3, { body: "some more words", object: { type: "post", id: "p", url: "/posts/p" } });
    await openPage(user);
    await page.emulateMedia({ colorScheme });
    await bell().click();
    await until("three lines", async () => (await titles()).length === 3);
    await page.locator(".mark").first().click();
    assert.deepEqual(await violations(page, "tidings-inbox"), []);
  });
}
