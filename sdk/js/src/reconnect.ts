import type { ErrorCode } from "./errors.js";
import type { Ending } from "./session.js";

/** What to do after a session's end. */
export type Decision =
  | { readonly then: "stop"; readonly code: ErrorCode }
  /** Come back after this many milliseconds. */
  | { readonly then: "after"; readonly ms: number }
  /** Come back after a random wait, of at least this attempt. */
  | { readonly then: "backoff"; readonly minAttempt: number };

/** A session that lived this long was a good one: waits begin anew, in milliseconds. */
export const GOOD_MS = 5_000;

/** Whether the ticket may be said again: it never got as far as the node, or the node had no room. */
export function keepsTicket(ending: Ending): boolean {
  return !ending.said || ending.code === 1012 || ending.code === 4429;
}

/** Decides by close code, as the table of api/websocket.md says. */
export function decide(ending: Ending, canRenew: boolean): Decision {
  switch (ending.code) {
    case 1012:
      break;
    // Neither side understands the other, which trying again does not change.
    case 1002:
    case 1007:
    case 1009:
    case 4400:
      return { then: "stop", code: "protocol" };
    case 4401:
      if (!canRenew) return { then: "stop", code: "unauthenticated" };
      // A session whose token ran out is opened anew at once. A token that was refused at the door, or soon after,
      // may be refused again: a provider may give the same one.
      return (ending.livedMs ?? 0) < GOOD_MS
        ? { then: "backoff", minAttempt: 1 }
        : { then: "after", ms: 0 };
    case 4403:
      return { then: "stop", code: "forbidden" };
    case 4409:
      return { then: "stop", code: "replaced" };
    case 4429:
      return { then: "backoff", minAttempt: 4 };
  }
  return ending.retryMs === undefined
    ? { then: "backoff", minAttempt: 0 }
    : { then: "after", ms: ending.retryMs };
}
