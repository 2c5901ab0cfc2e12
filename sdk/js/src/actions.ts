import type { Backoff } from "./backoff.js";
import { TidingsError } from "./errors.js";
import type { Selection } from "./frames.js";
import type { InboxCounters } from "./generated/api.js";
import type { InboxApi, MarkName } from "./inbox-api.js";

/** The most marks that wait for the network. */
export const MAX_WAITING = 256;
/** The most ids of one request. */
const MAX_IDS = 1_000;

interface Waiting {
  readonly mark: MarkName;
  selection: Selection;
  readonly settle: Array<{ resolve(counters: InboxCounters): void; reject(error: unknown): void }>;
}

/**
 * Carries marks to the server, one at a time and in order, and waits for the network when it must. A
 * mark may be sent twice when an answer was lost: marking again changes nothing.
 */
export class Actions {
  readonly #waiting: Waiting[] = [];
  #sending = false;
  #closed = false;
  /** The server asked to be left alone for a while. */
  #held = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly inbox: InboxApi,
    private readonly backoff: Backoff,
    private readonly isOffline: () => boolean,
    private readonly done: (counters: InboxCounters) => void,
  ) {}

  /** How many marks wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Marks as soon as the server is reached; settles when it has answered. */
  mark(mark: MarkName, selection: Selection): Promise<InboxCounters> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new TidingsError("closed", "the client is closed"));
      const settle = { resolve, reject };
      if (!this.#join(mark, selection, settle)) {
        if (this.#waiting.length >= MAX_WAITING) {
          return reject(new TidingsError("queue-full", `${MAX_WAITING} marks wait for the network`));
        }
        this.#waiting.push({ mark, selection, settle: [settle] });
      }
      void this.flush();
    });
  }

  /** Tries now what waits. */
  async flush(): Promise<void> {
    if (this.#sending || this.#held) return;
    clearTimeout(this.#retry);
    this.#sending = true;
    try {
      while (!this.#closed && !this.isOffline()) {
        const first = this.#waiting[0];
        if (!first || !(await this.#send(first))) return;
      }
    } finally {
      this.#sending = false;
    }
  }

  /** Gives up what waits. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    for (const { settle } of this.#waiting.splice(0)) {
      for (const one of settle) one.reject(new TidingsError("closed", "the client was closed"));
    }
  }

  async #send(first: Waiting): Promise<boolean> {
    try {
      const counters = await this.inbox.mark(first.mark, first.selection);
      if (this.#closed) return false;
      this.#waiting.shift();
      this.backoff.reset();
      this.done(counters);
      for (const one of first.settle) one.resolve(counters);
      return true;
    } catch (error) {
      if (this.#closed) return false;
      if (error instanceof TidingsError && error.isTransient) {
        this.#held = error.retryAfterMs > 0;
        this.#retry = setTimeout(() => {
          this.#held = false;
          void this.flush();
        }, error.retryAfterMs + this.backoff.next());
        return false;
      }
      // Refused for what it is: it must not hold up what comes after.
      this.#waiting.shift();
      for (const one of first.settle) one.reject(error);
      return true;
    }
  }

  /** Adds to the last mark that waits, if it is of the same kind and not on its way. */
  #join(mark: MarkName, selection: Selection, settle: Waiting["settle"][number]): boolean {
    const last = this.#waiting.at(-1);
    if (!last || last.mark !== mark || (this.#sending && this.#waiting.length === 1)) return false;
    const joined = join(last.selection, selection);
    if (!joined) return false;
    last.selection = joined;
    last.settle.push(settle);
    return true;
  }
}

function join(one: Selection, other: Selection): Selection | undefined {
  if ("up_to_seq" in one && "up_to_seq" in other) {
    return { up_to_seq: Math.max(one.up_to_seq, other.up_to_seq) };
  }
  if ("ids" in one && "ids" in other && one.ids.length + other.ids.length <= MAX_IDS) {
    return { ids: [...new Set([...one.ids, ...other.ids])] };
  }
  return undefined;
}
