import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";

/** What axe finds wrong within `where`, one line each. */
export async function violations(page: Page, where: string): Promise<string[]> {
  // Not as a tag: a page's policy may forbid scripts that it does not know.
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  return page.evaluate(async (where) => {
    type Axe = { run(where: string): Promise<{ violations: Array<{ id: string; nodes: Array<{ html: string }> }> }> };
    const { violations } = await (window as unknown as { axe: Axe }).axe.run(where);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  }, where);
}
