/** Where a client stands in the inbox. */
export interface Place {
  /** Everything up to here was delivered … */
  readonly seq: number;
  /** … since here, if the client did not begin with the whole inbox. */
  readonly began?: number;
}

/** Keeps a client's place across reloads. May be asynchronous (IndexedDB, a file). */
export interface CursorStorage {
  /** The kept place, if there is one. A number is a `seq`, and nothing before it counts as delivered. */
  load(): number | Place | undefined | Promise<number | Place | undefined>;
  /** Keeps the place. */
  save(seq: number, began?: number): void | Promise<void>;
}

/** Keeps the place in the page's localStorage under `key`: one key per user. */
export function localStorageCursor(key: string): CursorStorage {
  return {
    load() {
      const [seq = NaN, began = seq] = (globalThis.localStorage?.getItem(key) ?? "x").split(":").map(Number);
      return Number.isSafeInteger(seq) && Number.isSafeInteger(began) ? { seq, began } : undefined;
    },
    save: (seq, began = 0) => globalThis.localStorage?.setItem(key, `${seq}:${began}`),
  };
}

/** What to do with a notification. */
export type Step = "deliver" | "drop" | "fill";

/** Where the client stands in the inbox: everything up to `seq` was delivered. */
export class Cursor {
  constructor(
    private seq: number | undefined,
    private since: number | undefined,
    private readonly storage?: CursorStorage,
  ) {}

  /** The last `seq` that was delivered; undefined before the first welcome. */
  get last(): number | undefined {
    return this.seq;
  }

  /** Where the client began: what came before was never here. Undefined if it has the whole inbox, or the app does not say. */
  get began(): number | undefined {
    return this.since;
  }

  /** Goes on from a kept place. */
  resume(kept: number | Place): void {
    const { seq, began } = typeof kept === "number" ? { seq: kept, began: kept } : kept;
    this.seq = seq;
    this.since = began === undefined || began === 0 ? undefined : began;
  }

  /** What to do with notification `seq`: deliver it, it was delivered, or something is missing. */
  step(seq: number): Step {
    if (this.seq !== undefined && seq <= this.seq) return "drop";
    return this.seq === undefined || seq === this.seq + 1 ? "deliver" : "fill";
  }

  /** Moves to `seq`. */
  move(seq: number): void {
    if (seq === this.seq) return;
    if (this.seq === undefined || seq < this.seq) this.since = seq;
    this.seq = seq;
    try {
      // Keeping it is a convenience: full or forbidden storage must not stop what is live.
      void Promise.resolve(this.storage?.save(seq, this.since)).catch(() => undefined);
    } catch {
      // As above.
    }
  }
}
