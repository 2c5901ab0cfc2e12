// The real thing: `tidings serve`, on a port of its own, with data of its own.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { until } from "./until.js";

export const BINARY = resolve(process.env["TIDINGS_BINARY"] ?? "../../target/debug/tidings");

export const SECRET = "a secret of thirty-two bytes, or more";

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

/** A place for a node: its data, configuration and port outlive it. */
export class Site {
  readonly #dir = mkdtempSync(join(tmpdir(), "tidings-js-"));
  #child: ChildProcess | undefined;
  #events = 0;

  private constructor(readonly port: number) {}

  static async start(toml = ""): Promise<Site> {
    if (!existsSync(BINARY)) throw new Error(`no ${BINARY}: cargo build -p tidings-server --bin tidings`);
    const site = new Site(await freePort());
    writeFileSync(join(site.#dir, "tidings.toml"), toml);
    await site.start();
    return site;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const address = join(this.#dir, "address");
    rmSync(address, { force: true });
    const log = openSync(join(this.#dir, "log"), "a");
    const child = spawn(
      BINARY,
      ["serve", "--stop-with-stdin", "--listen", `127.0.0.1:${this.port}`, "--config", join(this.#dir, "tidings.toml"),
        "--data-dir", join(this.#dir, "data"), "--address-file", address],
      { cwd: this.#dir, stdio: ["pipe", "ignore", log] },
    );
    this.#child = child;
    await until("the node", () => {
      if (child.exitCode !== null) throw new Error(readFileSync(join(this.#dir, "log"), "utf8"));
      return existsSync(address);
    });
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** Asks the node to stop, as an upgrade does. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = once(child, "exit");
    child.stdin?.end();
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Tells `user` of `count` more things that happened, one after the other. */
  async tell(user: string, count = 1, more: Record<string, unknown> = {}): Promise<void> {
    for (let n = 0; n < count; n += 1) {
      this.#events += 1;
      const id = `e${this.#events}`;
      const event = { id, source: "test", type: "like", title: `title of ${id}`, audience: { users: [user] }, ...more };
      const answer = await fetch(`${this.url}/v1/events`, {
        method: "POST", body: JSON.stringify(event), headers: { "content-type": "application/json" },
      });
      if (!answer.ok) throw new Error(await answer.text());
    }
  }
}
