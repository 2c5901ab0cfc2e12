import type { NotificationFrame } from "./frames.js";

/**
 * The unread count: what the server counted last, and what has arrived since. The server says with a count how far
 * the inbox reached at that time, so that counts are told apart by age whichever way they come.
 */
export class UnreadCount {
  #counted = 0;
  #seq = 0;
  /** Unread ones beyond `#seq`. */
  #since: number[] = [];

  /** How many are unread. */
  get unread(): number {
    return this.#counted + this.#since.length;
  }

  /** Everything up to here is in what the server counted. */
  get seq(): number {
    return this.#seq;
  }

  /** A session begins. Its `seq` is less than the last one when the server was set back. */
  begin(unread: number, seq: number): void {
    this.#counted = unread;
    this.#seq = seq;
    this.#since = [];
  }

  /** The server counted when the inbox reached to `seq`; with all that arrived, unless it says. */
  told(unread: number, seq: number = Math.max(this.#seq, this.#since.at(-1) ?? 0)): void {
    // Overtaken by a newer count.
    if (seq < this.#seq) return;
    this.#counted = unread;
    this.#seq = seq;
    this.#since = this.#since.filter((one) => one > seq);
  }

  arrived({ seq, notification }: NotificationFrame): void {
    if (seq > this.#seq && !notification.read_at && !notification.archived_at) this.#since.push(seq);
  }
}
