import type { Update } from "../frames.js";
import type { Notification } from "../generated/api.js";

/** The notifications that are shown, newest first. */
export class InboxList {
  #items: Notification[] = [];

  get items(): readonly Notification[] {
    return this.#items;
  }

  /** Adds what is not there yet. */
  add(more: readonly Notification[]): void {
    const known = new Set(this.#items.map(({ id }) => id));
    const fresh = more.filter(({ id, archived_at }) => !known.has(id) && !archived_at);
    this.#items = [...this.#items, ...fresh].sort((one, other) => other.seq - one.seq);
  }

  clear(): void {
    this.#items = [];
  }

  /** Does here what an update says was done elsewhere. */
  apply(update: Update, at: string): void {
    const named = (which: Update["read"], { id, seq }: Notification) =>
      which !== undefined && ("ids" in which ? which.ids.includes(id) : seq <= which.up_to_seq);
    this.#items = this.#items
      .filter((item) => !named(update.archived, item))
      .map((item) => (named(update.read, item) && !item.read_at ? { ...item, read_at: at } : item));
  }
}
