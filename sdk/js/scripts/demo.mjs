// Builds the page of `tidings demo` into demo/built.js, which the binary carries. `--check` writes nothing
// and fails when it is stale.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL("..", import.meta.url));
const built = `${here}demo/built.js`;
const banner = "// Built from demo/main.ts by `npm run generate`. Do not edit.\n";

const { outputFiles } = await build({
  absWorkingDir: here, entryPoints: ["demo/main.ts"], bundle: true, minify: true, format: "esm", target: "es2022", write: false,
});
const text = banner + outputFiles[0].text;
if (!process.argv.includes("--check")) {
  await writeFile(built, text);
} else if ((await readFile(built, "utf8").catch(() => "")) !== text) {
  console.error(`${built} is stale: run npm run generate`);
  process.exitCode = 1;
}
