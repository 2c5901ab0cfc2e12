// Bundles dist/, writes the type declarations, and prints how much a page has to load.
import { execFileSync } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = fileURLToPath(new URL("..", import.meta.url));
/** Bytes, minified and gzipped. */
const LIMIT = 8 * 1024;

await rm(`${here}/dist`, { recursive: true, force: true });
const common = { bundle: true, minify: true, format: "esm", target: "es2022", sourcemap: true, absWorkingDir: here };
await build({ ...common, entryPoints: ["src/index.ts"], outfile: "dist/index.js" });
// The component loads the client from beside it, so that a page which uses both has it once.
await build({
  ...common,
  entryPoints: ["src/inbox/index.ts"],
  outfile: "dist/inbox/index.js",
  external: ["../index.js"],
});
execFileSync(`${here}/node_modules/.bin/tsc`, ["-p", "tsconfig.json", "--emitDeclarationOnly"], {
  cwd: here,
  stdio: "inherit",
});

for (const [what, file] of [["client", "dist/index.js"], ["<tidings-inbox>", "dist/inbox/index.js"]]) {
  const bytes = gzipSync(await readFile(`${here}/${file}`), { level: 9 }).length;
  console.log(`${what}: ${bytes} bytes minified and gzipped (limit ${LIMIT})`);
  if (bytes > LIMIT) process.exitCode = 1;
}
