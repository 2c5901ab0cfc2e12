// `tidings demo --keep`, as a user runs it, on a graph of a few people.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BINARY } from "./node.js";
import { until } from "./until.js";

/** Everyone follows the next five. */
const PEOPLE = 30;

/** A demo whose stream is over and whose page is there. */
export class Demo {
  #said = "";

  private constructor(
    private readonly dir: string,
    private readonly child: ChildProcess,
  ) {
    for (const pipe of [child.stdout, child.stderr]) pipe?.on("data", (part) => (this.#said += String(part)));
  }

  static async start(): Promise<Demo> {
    const dir = mkdtempSync(join(tmpdir(), "tidings-demo-js-"));
    const follows = Array.from({ length: PEOPLE * 5 }, (_, n) => {
      const follower = Math.floor(n / 5);
      return `${follower} ${(follower + 1 + (n % 5)) % PEOPLE}`;
    });
    writeFileSync(join(dir, "graph.txt"), `${follows.join("\n")}\n`);
    const words = ["demo", "--graph", join(dir, "graph.txt"), "--online", "10", "--events", "10", "--keep", "--listen", "127.0.0.1:0"];
    const demo = new Demo(dir, spawn(BINARY, words, { stdio: ["ignore", "pipe", "pipe"] }));
    await until("the end of the stream", () => {
      if (demo.child.exitCode !== null) throw new Error(demo.#said);
      return demo.#said.includes("stays until Ctrl-C");
    });
    return demo;
  }

  /** What it printed. */
  get said(): string {
    return this.#said;
  }

  /** Where it says that its page is. */
  get page(): string {
    const said = /A page to look at: (http:\S+)/.exec(this.#said)?.[1];
    if (said === undefined) throw new Error(this.#said);
    return said;
  }

  /** Ctrl-C. Returns the exit code. */
  async stop(): Promise<number | null> {
    if (this.child.exitCode === null) {
      const ended = once(this.child, "exit");
      this.child.kill("SIGINT");
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
    return this.child.exitCode;
  }
}
