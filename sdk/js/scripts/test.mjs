// Runs one kind of tests: `node scripts/test.mjs unit|server|browser`. Node 20 reads no TypeScript,
// so the tests are bundled first; what they import from packages stays outside.
import { spawn } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL("..", import.meta.url));
const kind = process.argv[2] ?? "unit";
const sources = (await readdir(`${here}/test/${kind}`)).filter((name) => name.endsWith(".test.ts"));
const out = `${here}/.test-build/${kind}`;
await rm(out, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: sources.map((name) => `test/${kind}/${name}`),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  sourcemap: "inline",
  logLevel: "warning",
});
const files = sources.map((name) => `${out}/${name.replace(/\.ts$/, ".mjs")}`);
const flags = ["--enable-source-maps", "--test", "--test-reporter=spec"];
// Each file of the other kinds starts servers or browsers of its own: one at a time.
if (kind !== "unit") flags.push("--test-concurrency=1");
const child = spawn(process.execPath, [...flags, ...files], { cwd: here, stdio: "inherit" });
child.on("exit", (code) => (process.exitCode = code ?? 1));
