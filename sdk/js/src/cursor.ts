/** Keeps the last `seq` across reloads. May be asynchronous (IndexedDB, a file). */
export interface CursorStorage {
  /** The kept `seq`, if there is one. */
  load(): number | undefined | Promise<number | undefined>;
  /** Keeps `seq`. */
  save(seq: number): void | Promise<void>;
}

/** Keeps the last `seq` in the page's localStorage under `key`: one key per user. */
export function localStorageCursor(key: string): CursorStorage {
  return {
    load() {
      const kept = globalThis.localStorage?.getItem(key);
      const seq = kept == null ? NaN : Number(kept);
      return Number.isSafeInteger(seq) ? seq : undefined;
    },
    save: (seq) => globalThis.localStorage?.setItem(key, String(seq)),
  };
}

/** What to do with a notification. */
export type Step = "deliver" | "drop" | "fill";

/** Where the client stands in the inbox: everything up to `seq` was delivered. */
export class Cursor {
  #began: number | undefined;

  constructor(
    private seq: number | undefined,
    private readonly storage?: CursorStorage,
  ) {}

  /** The last `seq` that was delivered; undefined before the first welcome. */
  get last(): number | undefined {
    return this.seq;
  }

  /**
   * Where the client began, if the app did not say: everything after it was delivered, up to `last`, and
   * what came before is none of its business.
   */
  get began(): number | undefined {
    return this.#began;
  }

  /** What to do with notification `seq`: deliver it, it was delivered, or something is missing. */
  step(seq: number): Step {
    if (this.seq !== undefined && seq <= this.seq) return "drop";
    return this.seq === undefined || seq === this.seq + 1 ? "deliver" : "fill";
  }

  /** Moves to `seq`. */
  move(seq: number): void {
    if (seq === this.seq) return;
    if (this.seq === undefined || seq < this.seq) this.#began = seq;
    this.seq = seq;
    try {
      // Keeping it is a convenience: full or forbidden storage must not stop what is live.
      void Promise.resolve(this.storage?.save(seq)).catch(() => undefined);
    } catch {
      // As above.
    }
  }
}
