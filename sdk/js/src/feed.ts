import type { Address } from "./address.js";
import type { BackoffOptions } from "./backoff.js";
import type { Cursor } from "./cursor.js";
import type { TidingsError } from "./errors.js";
import type { NotificationFrame, Update, Welcome } from "./frames.js";
import type { SessionTimeouts, WebSocketConstructor } from "./session.js";
import type { TokenSource } from "./token.js";

/**
 * Where the client stands: `connecting`, `live`, `waiting` for the next attempt, `offline` (the browser
 * has no network), `paused` (a reader of `notifications()` is behind), `closed`.
 */
export type State = "connecting" | "live" | "waiting" | "offline" | "paused" | "closed";

/** Why the client's place in the inbox moved without notifications. */
export interface Reset {
  /** `forgotten`: what lies between was too old and is gone. `rewound`: the server's data was set back. */
  readonly reason: "forgotten" | "rewound";
  /** Where the client stands now. */
  readonly seq: number;
}

/** What a feed tells. Notifications come in order, each once, without holes. */
export interface FeedListener {
  state(state: State): void;
  welcome(frame: Welcome): void;
  notification(frame: NotificationFrame): void;
  update(frame: Update): void;
  reset(reset: Reset): void;
  error(error: TidingsError): void;
}

/** Where frames come from: an own socket, or another tab's. */
export interface Feed {
  start(): void;
  /** Ends for good. */
  stop(): void;
  /** Everything up to `seq` has arrived. */
  ack(seq: number): void;
  /** Takes nothing more until `resume`, which goes on where the cursor stands. */
  pause(): void;
  resume(): void;
  /** Tries now instead of later, and asks an open socket whether it still is. */
  wake(): void;
  offline(): void;
}

/** What a feed works with. */
export interface FeedContext {
  readonly address: Address;
  readonly tokens: TokenSource;
  readonly cursor: Cursor;
  readonly device: string | undefined;
  readonly WebSocket: WebSocketConstructor;
  readonly backoff: BackoffOptions;
  readonly timeouts: SessionTimeouts;
}
