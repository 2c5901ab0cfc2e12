import type { Notification } from "./generated/api.js";

/** The most notifications that wait for a reader before the client pauses. */
export const STREAM_MAX = 1_000;

/** Notifications for one `for await`. */
export class NotificationStream implements AsyncIterableIterator<Notification> {
  #waiting: Notification[] = [];
  #readers: Array<(result: IteratorResult<Notification>) => void> = [];
  #full = false;
  #ended = false;

  constructor(
    private readonly pause: () => void,
    private readonly resume: () => void,
    private readonly onEnd: () => void,
  ) {}

  /** Whether the reader is too far behind. */
  get isFull(): boolean {
    return this.#full;
  }

  push(notification: Notification): void {
    const reader = this.#readers.shift();
    if (reader) return reader({ done: false, value: notification });
    this.#waiting.push(notification);
    if (this.#waiting.length >= STREAM_MAX && !this.#full) {
      this.#full = true;
      // Not now: the notification that fills the stream must first be counted as delivered, for the
      // client goes on behind it.
      queueMicrotask(() => {
        if (this.#full) this.pause();
      });
    }
  }

  next(): Promise<IteratorResult<Notification>> {
    const value = this.#waiting.shift();
    if (value === undefined) {
      if (this.#ended) return Promise.resolve({ done: true, value: undefined });
      return new Promise((resolve) => this.#readers.push(resolve));
    }
    if (this.#full && this.#waiting.length < STREAM_MAX / 2) {
      this.#full = false;
      this.resume();
    }
    return Promise.resolve({ done: false, value });
  }

  /** The loop was left. */
  return(): Promise<IteratorResult<Notification>> {
    this.#waiting = [];
    this.end();
    if (this.#full) {
      this.#full = false;
      this.resume();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  /** No more will come. What waits can still be read. */
  end(): void {
    this.#ended = true;
    this.onEnd();
    for (const reader of this.#readers.splice(0)) reader({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
