// What the checks in JavaScript share: where the simulators are, and their control.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const facts = JSON.parse(process.env.SIMULATORS);

/** A file that `tidings simulate` wrote. */
function file(name) {
  return fs.readFileSync(path.join(facts.out, name), "utf8");
}

/** Asks the control; gives what it answers, if it is JSON. */
async function control(method, route, body) {
  const response = await fetch(facts.control + route, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${route}: ${response.status} ${text}`);
  return text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text;
}

/** The counts of a ledger. */
const ledger = (service) => control("GET", `/${service}/ledger`);

/** The push that was accepted last. */
async function last(service) {
  return (await control("GET", `/${service}/ledger/recent?limit=1`))[0];
}

/** Runs the rules one by one; the first that fails ends the process. */
async function check(client, rules) {
  for (const [rule, body] of Object.entries(rules)) {
    try {
      await body();
    } catch (error) {
      console.error(`${client}: ${rule}: FAILED`);
      throw error;
    }
    console.log(`${client}: ${rule}`);
  }
}

/** Runs `send`, which has to fail, and gives its error. */
async function refused(send) {
  try {
    await send();
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "it succeeded" });
}

module.exports = { assert, facts, file, control, ledger, last, check, refused };
