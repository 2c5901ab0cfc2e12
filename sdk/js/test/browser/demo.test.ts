import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { violations } from "../support/axe.js";
import { Demo } from "../support/demo.js";
import { launch } from "../support/page.js";
import { until } from "../support/until.js";

let demo: Demo;
let browser: Browser;
let page: Page;
const complaints: string[] = [];

before(async () => {
  demo = await Demo.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  assert.equal(await demo?.stop(), 0, demo?.said);
});
beforeEach(async () => {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, reducedMotion: "reduce" });
  page = await context.newPage();
  complaints.length = 0;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(demo.page);
  for (const name of ["Phone", "Laptop", "Tablet"]) await state(name, "Live");
});
afterEach(async () => {
  await page.context().close();
  assert.deepEqual(complaints, []);
});

const screen = (name: string): Locator => page.getByRole("article", { name });
const state = (name: string, word: string) =>
  until(`${name} ${word}`, async () => (await screen(name).locator(".state b").innerText()) === word);
const titles = (name: string) => screen(name).locator(".feed .title").allInnerTexts();
const seqs = (name: string) =>
  screen(name).locator(".feed li[data-seq]").evaluateAll((lines) => lines.map((line) => Number((line as HTMLElement).dataset["seq"])));
const unread = (name: string) => screen(name).locator(".feed li.unread").count();

async function send(title: string, button = "Send event"): Promise<void> {
  await page.getByLabel("What happened").fill(title);
  await page.getByRole("button", { name: button }).click();
}

test("what is sent lights up on the screens of its user, and on no other", async () => {
  await send("The boat is in");
  for (const name of ["Phone", "Laptop"]) {
    await until(name, async () => (await titles(name))[0] === "The boat is in");
  }
  await until("what became of it", async () =>
    /^durable \d+ ms · (Phone \d+ ms · Laptop|Laptop \d+ ms · Phone) \d+ ms$/.test(await page.locator(".log small").first().innerText()));
  assert.equal((await titles("Tablet")).includes("The boat is in"), false);
});

test("what is read on one screen is read on the other", async () => {
  await send("Read me here");
  await until("both screens", async () => (await unread("Phone")) > 0 && (await unread("Laptop")) > 0);
  await send("And me");
  await until("both", async () => (await titles("Laptop"))[0] === "And me");
  await screen("Phone").locator(".bell").click();
  await page.getByRole("button", { name: "Mark as read: And me" }).click();
  await until("one mark", async () => (await screen("Laptop").locator(".feed li").first().getAttribute("class")) === "");
  await page.keyboard.press("Escape");
  const others = await screen("Tablet").locator(".state span").innerText();
  await screen("Laptop").getByRole("button", { name: "Read all" }).click();
  await until("all marks", async () => (await unread("Phone")) === 0 && (await unread("Laptop")) === 0);
  await until("no badge", async () => (await screen("Phone").locator(".bell").getAttribute("aria-label")) === "Notifications");
  assert.equal(await screen("Tablet").locator(".state span").innerText(), others);
});

test("a screen whose line was cut gets what it missed, in order and once", async () => {
  await screen("Phone").getByRole("button", { name: "Cut the line" }).click();
  await until("the loss to be seen", async () => (await screen("Phone").locator(".state b").innerText()) !== "Live");
  const before = await seqs("Phone");
  await send("While you were away", "Send 20");
  await until("the other screen", async () => (await titles("Laptop"))[0] === "While you were away (20)");
  assert.deepEqual(await seqs("Phone"), before);
  await screen("Phone").getByRole("button", { name: "Mend the line" }).click();
  await state("Phone", "Live");
  await until("what was missed", async () => (await titles("Phone"))[0] === "While you were away (20)");
  const all = await seqs("Phone");
  assert.deepEqual(all, all.map((_, n) => all[0]! - n));
  assert.deepEqual((await titles("Phone")).slice(0, 20), (await titles("Laptop")).slice(0, 20));
});

test("a screen can be another user's, be added and be removed", async () => {
  const people = await page.getByLabel("User of Laptop").locator("option").evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).value));
  const other = people[2]!;
  await page.getByLabel("User of Laptop").selectOption(other);
  await state("Laptop", "Live");
  await page.getByLabel("Who is told").selectOption(other);
  await send("For another");
  await until("the laptop", async () => (await titles("Laptop"))[0] === "For another");
  assert.equal((await titles("Phone")).includes("For another"), false);
  await page.getByRole("button", { name: "Add a screen" }).click();
  await state("Watch", "Live");
  await page.getByRole("button", { name: "Remove Watch" }).click();
  assert.equal(await screen("Watch").count(), 0);
});

for (const colorScheme of ["light", "dark"] as const) {
  for (const [width, height] of [[1360, 900], [390, 844]] as const) {
    test(`axe finds nothing to mend in ${colorScheme} colours at ${width} pixels, and nothing sticks out`, async () => {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await send("Something to see");
      await until("the phone", async () => (await titles("Phone"))[0] === "Something to see");
      assert.deepEqual(await violations(page, "body"), []);
      await screen("Phone").locator(".bell").click();
      await page.getByRole("button", { name: "Mark as read: Something to see" }).first().waitFor();
      assert.deepEqual(await violations(page, "body"), []);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      const directory = process.env["TIDINGS_SCREENSHOTS"];
      if (directory) await page.screenshot({ path: `${directory}/demo-${colorScheme}-${width}.png`, fullPage: width < 1000 });
    });
  }
}
