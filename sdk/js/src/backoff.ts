/** How long to wait between attempts. */
export interface BackoffOptions {
  /** The bound of the first wait, in milliseconds. */
  readonly baseMs: number;
  /** The bound that waits grow to, in milliseconds. */
  readonly capMs: number;
}

/** Half a second, then up to half a minute. */
export const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 500, capMs: 30_000 };

/**
 * Exponential backoff with full jitter: a random time up to a bound that doubles. A herd that lost
 * its node at the same moment comes back spread out.
 *
 * The bound is not longer than half of what has passed since the first wait began, the base at least: when the
 * first waits happen to be short it would else run ahead of the time that it took to get there, and a few
 * clients of a node that was gone for seconds would stay away for several times as long.
 */
export class Backoff {
  #attempt = 0;
  #sinceMs: number | undefined;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number = Math.random,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** The next wait in milliseconds. `minAttempt` skips the short ones. */
  next(minAttempt = 0): number {
    this.#attempt = Math.max(this.#attempt, minAttempt);
    const now = this.nowMs();
    this.#sinceMs ??= now;
    const passed = Math.max((now - this.#sinceMs) / 2, this.#bound(minAttempt));
    const bound = Math.min(this.#bound(this.#attempt), passed);
    this.#attempt += 1;
    return this.random() * bound;
  }

  /** What was attempted has succeeded. */
  reset(): void {
    this.#attempt = 0;
    this.#sinceMs = undefined;
  }

  #bound(attempt: number): number {
    // 2^20 is beyond any cap; without a bound it would become Infinity.
    return Math.min(this.options.baseMs * 2 ** Math.min(attempt, 20), this.options.capMs);
  }
}
