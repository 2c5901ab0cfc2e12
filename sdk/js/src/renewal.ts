import { TidingsError } from "./errors.js";
import { renewalDelay } from "./token.js";
import type { TokenSource } from "./token.js";

/** The longest time that a timer takes, in milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Renews a session's token ahead of its end, so that the session need not end with it. */
export class Renewal {
  /** The token that the session has. */
  token: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts sessions and attempts, so that an answer for an earlier one is told apart. */
  #turn = 0;
  /** What was said and has no answer yet. */
  #said: string | undefined;
  /** When the session ends by what is known here, in milliseconds since 1970. */
  #expiry: number | undefined;

  constructor(
    private readonly tokens: TokenSource,
    private readonly say: (token: string) => void,
    private readonly failed: (error: TidingsError) => void,
  ) {}

  /** A session was opened. */
  begin(): void {
    this.end();
    this.#expiry = this.token === undefined ? undefined : this.tokens.expiryOf(this.token);
    this.#schedule();
  }

  /** The session is over. */
  end(): void {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.#said = undefined;
  }

  /** The server took the new token: the session ends at `expiresMs` now. */
  accepted(expiresMs: number): void {
    if (this.#said === undefined) return;
    this.token = this.#said;
    this.#said = undefined;
    // The earlier of the two; where this clock is wrong, there is no end that could be trusted.
    const expiry = this.tokens.expiryOf(this.token);
    this.#expiry = expiry === undefined ? undefined : Math.min(expiry, expiresMs);
    this.#schedule();
  }

  /** The server refused a frame for `reason`. Says whether that was no error of the client's. */
  refused(reason: string): boolean {
    const said = this.#said;
    if (said === undefined) return false;
    this.#said = undefined;
    // An earlier server: it ends the session with 4401, and the next hello says the new token.
    if (reason.startsWith("there is no frame of type")) return true;
    // The session goes on until its old token ends. Another is tried before that.
    this.tokens.refuse(said);
    this.#schedule();
    return false;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#expiry === undefined || !this.tokens.canRenew) return;
    const delay = Math.min(renewalDelay(this.#expiry, Date.now()), TIMER_MAX_MS);
    this.#timer = setTimeout(() => void this.#renew(), delay);
  }

  async #renew(): Promise<void> {
    // A timer holds 24 days at most; a token may hold longer.
    if (this.#expiry !== undefined && renewalDelay(this.#expiry, Date.now()) > TIMER_MAX_MS) return this.#schedule();
    const turn = (this.#turn += 1);
    try {
      const token = await this.tokens.renew();
      if (turn !== this.#turn) return;
      // A provider that has no other yet is asked again before the end.
      if (token === this.token) return this.#schedule();
      this.#said = token;
      this.say(token);
    } catch (cause) {
      if (turn !== this.#turn) return;
      // The session goes on until the token's end, and the provider is asked again before it.
      const message = "the token was not renewed";
      this.failed(new TidingsError("unauthenticated", message, false, undefined, { cause }));
      this.#schedule();
    }
  }
}
