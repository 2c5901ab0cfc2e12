// Writes the types of the HTTP API from api/openapi.json, and the golden frames of api/fixtures as
// TypeScript, so that the compiler checks them against src/frames.ts. `--check` writes nothing and
// fails when a file is stale.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = new URL("..", import.meta.url);
const api = new URL("../../api/", here);

/** The schemas that a client of one user's inbox meets. What they refer to comes along. */
const WANTED = ["InboxPage", "InboxCounters", "Notification", "ProblemDetails", "Which"];

function typeOf(schema, wanted) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    wanted.add(name);
    return name;
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  for (const key of ["oneOf", "anyOf"]) {
    if (schema[key]) return [...new Set(schema[key].map((one) => typeOf(one, wanted)))].join(" | ");
  }
  const types = [schema.type ?? "unknown"].flat();
  return types.map((type) => simpleType(type, schema, wanted)).join(" | ");
}

function simpleType(type, schema, wanted) {
  switch (type) {
    case "string":
    case "boolean":
    case "null":
      return type;
    case "integer":
    case "number":
      return "number";
    case "array":
      return `Array<${typeOf(schema.items ?? {}, wanted)}>`;
    case "object":
      return schema.properties ? objectType(schema, wanted, "  ") : "Record<string, unknown>";
    default:
      return "unknown";
  }
}

function comment(text, indent) {
  return text ? `${indent}/** ${text.replaceAll("*/", "*\\/").replaceAll("\n", " ")} */\n` : "";
}

function objectType(schema, wanted, indent) {
  const required = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const optional = required.has(name) ? "" : "?";
    return `${comment(property.description, indent)}${indent}${name}${optional}: ${typeOf(property, wanted)};\n`;
  });
  return `{\n${lines.join("")}${indent.slice(2)}}`;
}

async function apiTypes() {
  const { components } = JSON.parse(await readFile(new URL("openapi.json", api), "utf8"));
  const wanted = new Set(WANTED);
  const written = [];
  // A set grows while it is walked, and is walked to its end.
  for (const name of wanted) {
    const schema = components.schemas[name];
    if (!schema) throw new Error(`api/openapi.json has no schema ${name}`);
    const head = comment(schema.description, "");
    const body = schema.properties
      ? `export interface ${name} ${objectType(schema, wanted, "  ")}\n`
      : `export type ${name} = ${typeOf(schema, wanted)};\n`;
    written.push(head + body);
  }
  return `// Generated from api/openapi.json by \`npm run generate\`. Do not edit.\n\n${written.join("\n")}`;
}

async function fixtureFrames() {
  const read = async (name) => {
    const all = JSON.parse(await readFile(new URL(`fixtures/${name}-frames.json`, api), "utf8"));
    return JSON.stringify(all, null, 2);
  };
  return [
    "// Generated from api/fixtures by `npm run generate`. Do not edit.",
    "",
    `export const clientFixtures = ${await read("client")} as const;`,
    "",
    `export const serverFixtures = ${await read("server")} as const;`,
    "",
  ].join("\n");
}

const files = [
  [new URL("src/generated/api.ts", here), await apiTypes()],
  [new URL("test/generated/fixtures.ts", here), await fixtureFrames()],
];
for (const [file, text] of files) {
  if (!process.argv.includes("--check")) {
    await writeFile(file, text);
  } else if ((await readFile(file, "utf8").catch(() => "")) !== text) {
    console.error(`${fileURLToPath(file)} is stale: run npm run generate`);
    process.exitCode = 1;
  }
}
