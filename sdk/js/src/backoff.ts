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
 */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number = Math.random,
  ) {}

  /** The next wait in milliseconds. `minAttempt` skips the short ones. */
  next(minAttempt = 0): number {
    this.#attempt = Math.max(this.#attempt, minAttempt);
    // 2^20 is beyond any cap; without a bound it would become Infinity.
    const bound = this.options.baseMs * 2 ** Math.min(this.#attempt, 20);
    this.#attempt += 1;
    return this.random() * Math.min(bound, this.options.capMs);
  }

  /** What was attempted has succeeded. */
  reset(): void {
    this.#attempt = 0;
  }
}
