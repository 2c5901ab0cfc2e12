import type { ProblemDetails } from "./generated/api.js";

/** What went wrong, as a word that stays the same across versions. */
export type ErrorCode =
  | "unauthenticated"
  | "forbidden"
  | "protocol"
  | "replaced"
  | "refused"
  | "http"
  | "network"
  | "queue-full"
  | "closed";

/** Everything that this package throws or reports. */
export class TidingsError extends Error {
  override readonly name = "TidingsError";

  constructor(
    /** What went wrong. */
    readonly code: ErrorCode,
    message: string,
    /** True when the client has given up; otherwise it goes on by itself. */
    readonly fatal: boolean = false,
    /** What the server said of an HTTP request (RFC 9457). */
    readonly problem?: ProblemDetails,
    options?: ErrorOptions,
    /** How long the server asked to wait before the request is made again, in milliseconds. */
    readonly retryAfterMs: number = 0,
  ) {
    super(message, options);
  }

  /** Whether the same request may succeed later, unchanged. */
  get isTransient(): boolean {
    const status = this.problem?.status ?? 0;
    return this.code === "network" || (this.code === "http" && (status === 429 || status >= 500));
  }
}
