import { addressOf } from "./address.js";
import { DEFAULT_BACKOFF } from "./backoff.js";
import type { BackoffOptions } from "./backoff.js";
import { TidingsClient } from "./client.js";
import { Cursor } from "./cursor.js";
import type { CursorStorage } from "./cursor.js";
import { Http } from "./http.js";
import { InboxApi } from "./inbox-api.js";
import type { SessionTimeouts, WebSocketConstructor } from "./session.js";
import { TokenSource } from "./token.js";
import type { TokenProvider } from "./token.js";

/** Where to connect, as whom, and how. */
export interface ConnectOptions {
  /** Of the server, such as `https://notify.example.com`; in a page also a path of its own. */
  readonly url: string;
  /** The user's token. One that ends ends the client: give a `tokenProvider` for more than a try. */
  readonly token?: string;
  /** Gives tokens: the first unless there is a `token`, and each next one ahead of the end of the last. */
  readonly tokenProvider?: TokenProvider;
  /** Names the installation. */
  readonly device?: string;
  /** Everything up to here is known. 0 asks for the whole inbox; without it, only what is new comes. */
  readonly lastSeq?: number;
  /** With `lastSeq`: where the client began, if not with the whole inbox. Nothing up to here counts as acknowledged. */
  readonly afterSeq?: number;
  /** Keeps the client's place across reloads. `lastSeq` goes before it. */
  readonly storage?: CursorStorage;
  /** Acknowledge what was delivered; true unless said. What is acknowledged is not pushed to phones. */
  readonly autoAck?: boolean;
  /**
   * One socket for all tabs of the user. A string names the user where the token does not (`sub`).
   * Where the browser lacks Web Locks or BroadcastChannel each tab has its own socket.
   */
  readonly shareTabs?: boolean | string;
  /** Waits between attempts: 500 ms doubling to 30 s, with full jitter. */
  readonly backoff?: Partial<BackoffOptions>;
  /** How long a server may take: 15 s to welcome, 10 s to answer a ping. */
  readonly timeouts?: Partial<SessionTimeouts>;
  /** Needed in Node before 22: that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /** Instead of the global one. */
  readonly fetch?: typeof globalThis.fetch;
}

/**
 * Opens a user's live inbox. Returns at once: listen for `state`.
 *
 * @throws TypeError for a url that is none, without token and tokenProvider, or without WebSocket.
 */
export function connect(options: ConnectOptions): TidingsClient {
  const WebSocketImpl = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  if (!WebSocketImpl) throw new TypeError("no WebSocket here: pass that of the package ws");
  const address = addressOf(options.url);
  const tokens = new TokenSource(options.token, options.tokenProvider);
  const inbox = new InboxApi(new Http(address.http, tokens, options.fetch ?? globalThis.fetch));
  const { storage } = options;
  return new TidingsClient(
    {
      address,
      tokens,
      cursor: new Cursor(options.lastSeq, options.lastSeq === undefined ? undefined : options.afterSeq, storage),
      device: options.device,
      WebSocket: WebSocketImpl,
      backoff: { ...DEFAULT_BACKOFF, ...options.backoff },
      timeouts: { connectMs: 15_000, pongMs: 10_000, ...options.timeouts },
    },
    inbox,
    {
      autoAck: options.autoAck ?? true,
      shareTabs: options.shareTabs ?? false,
      loadPlace: async () => storage?.load(),
    },
  );
}
