import { TidingsError } from "./errors.js";

/** Gives a token of the user, from your backend. Called again before it expires. */
export type TokenProvider = () => string | Promise<string>;

/** A provider that takes longer has failed, in milliseconds. */
const PROVIDER_TIMEOUT_MS = 20_000;

interface Claims {
  readonly sub?: string;
  readonly exp?: number;
}

/** Reads a JWT's claims without checking it: that is the server's. */
function claimsOf(token: string): Claims {
  try {
    const base64 = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Claims;
  } catch {
    return {};
  }
}

/** When the token ends, in milliseconds since 1970, if it says. */
export function expiryOf(token: string): number | undefined {
  const { exp } = claimsOf(token);
  return typeof exp === "number" ? exp * 1000 : undefined;
}

/** The user whose token it is, if it says. */
export function subjectOf(token: string): string | undefined {
  // The open form of a node without keys, for trying things out.
  if (token.startsWith("user:")) return token.slice(5);
  const { sub } = claimsOf(token);
  return typeof sub === "string" ? sub : undefined;
}

/**
 * How long to wait before a token is renewed: until a tenth of its time is left, between 5 s and 1 min.
 * A token of a few seconds lives half of them, or renewing it would never end.
 */
export function renewalDelay(expiry: number, now: number): number {
  const left = Math.max(0, expiry - now);
  const margin = Math.min(60_000, Math.max(5_000, left / 10));
  return Math.max(left - margin, left / 2, 500);
}

/** Holds the token that is used, and gets the next one. */
export class TokenSource {
  #token: string | undefined;
  #expiry: number | undefined;
  #asking: Promise<string> | undefined;

  constructor(
    token: string | undefined,
    private readonly provider: TokenProvider | undefined,
  ) {
    if (token === undefined && !provider) {
      throw new TypeError("connect takes a token or a tokenProvider");
    }
    this.#token = token;
    this.#expiry = token === undefined ? undefined : expiryOf(token);
  }

  /** When `token` ends, in milliseconds since 1970, as far as this clock can tell. */
  expiryOf(token: string): number | undefined {
    return token === this.#token ? this.#expiry : expiryOf(token);
  }

  /** Whether there can be another token than this one. */
  get canRenew(): boolean {
    return this.provider !== undefined;
  }

  /** The token to use now. */
  current(): Promise<string> {
    const expired = this.#expiry !== undefined && this.#expiry <= Date.now() && this.canRenew;
    if (this.#token === undefined || expired) return this.renew();
    return Promise.resolve(this.#token);
  }

  /** Asks for another token. Calls that overlap share one question. */
  renew(): Promise<string> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  /** The server refused `token`: the next use asks for another, if that one is still in use. */
  refuse(token: string | undefined): void {
    if (this.canRenew && this.#token === token) this.#token = undefined;
  }

  async #ask(): Promise<string> {
    if (!this.provider) throw new TidingsError("unauthenticated", "the token is not accepted", true);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new TidingsError("unauthenticated", "tokenProvider takes too long");
      timer = setTimeout(() => reject(error), PROVIDER_TIMEOUT_MS);
    });
    try {
      const token = (this.#token = await Promise.race([this.provider(), late]));
      const expiry = expiryOf(token);
      // One that is new and over already says that this clock is ahead. The server's is the one that
      // counts; asking again and again would not help.
      this.#expiry = expiry !== undefined && expiry > Date.now() ? expiry : undefined;
      return token;
    } finally {
      clearTimeout(timer);
    }
  }
}
