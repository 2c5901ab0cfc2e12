// The frames of `tidings.v1`, as api/websocket.md describes them.

import type { Notification } from "./generated/api.js";

/** Which notifications a mark is about: all up to a `seq`, itself included, or these. */
export type Selection = { readonly up_to_seq: number } | { readonly ids: readonly string[] };

/** Opens a session: with the user's token, or with the newest ticket, which spares the server work. */
export type Hello = {
  readonly type: "hello";
  readonly last_seq?: number;
  /** Where the client began: what came before does not count as acknowledged. */
  readonly after_seq?: number;
  readonly device?: string;
} & ({ readonly token: string } | { readonly ticket: string });

/** What a client says. */
export type ClientFrame =
  | Hello
  | { readonly type: "ack"; readonly seq: number }
  | ({ readonly type: "read" } & Selection)
  | { readonly type: "renew"; readonly token: string }
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/** The session is open. */
export interface Welcome {
  readonly type: "welcome";
  readonly session: string;
  readonly user: string;
  /** The newest notification of the inbox. */
  readonly seq: number;
  readonly unread: number;
  readonly heartbeat_ms: number;
  /** Everything up to here was too old and is gone. */
  readonly forgotten_seq?: number;
  /** To come back with in place of the token. */
  readonly ticket?: string;
}

/** The session goes on with the token of a `renew`. */
export interface Renewed {
  readonly type: "renewed";
  /** When it ends now unless it is renewed again, in milliseconds since 1970. */
  readonly expires_ms: number;
  /** Takes the place of the ticket before. */
  readonly ticket?: string;
}

/** The next notification. */
export interface NotificationFrame {
  readonly type: "notification";
  readonly seq: number;
  readonly notification: Notification;
}

/** Notifications were marked on some screen. */
export interface Update {
  readonly type: "update";
  readonly unread: number;
  /** The newest notification of the inbox when that was counted. */
  readonly seq?: number;
  readonly seen?: Selection;
  readonly read?: Selection;
  readonly archived?: Selection;
}

/** A frame was not understood, or could not be carried out; the session goes on. */
export interface ErrorFrame {
  readonly type: "error";
  readonly reason?: string;
}

/** The node is stopping. */
export interface Bye {
  readonly type: "bye";
  readonly reason: string;
  readonly retry_ms: number;
}

/** What a server says. */
export type ServerFrame =
  | Welcome
  | Renewed
  | NotificationFrame
  | Update
  | ErrorFrame
  | Bye
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/** The numbers that the client relies on, by frame type. Other fields may be missing. */
const NUMBERS: Readonly<Record<ServerFrame["type"], readonly string[]>> = {
  welcome: ["seq", "unread", "heartbeat_ms"],
  renewed: ["expires_ms"],
  notification: ["seq"],
  update: ["unread"],
  error: [],
  bye: ["retry_ms"],
  ping: [],
  pong: [],
};

/**
 * Reads a frame of the server. Answers undefined for a type of a later version, which is to be
 * ignored.
 *
 * @throws SyntaxError when it is no frame of this protocol.
 */
export function readServerFrame(text: string): ServerFrame | undefined {
  const frame = JSON.parse(text) as Record<string, unknown> | null;
  const type = frame?.type;
  if (typeof type !== "string") throw new SyntaxError("a frame without a type");
  if (!Object.hasOwn(NUMBERS, type)) return undefined;
  for (const name of NUMBERS[type as ServerFrame["type"]]) {
    if (typeof frame?.[name] !== "number") throw new SyntaxError(`${type} without ${name}`);
  }
  if (type === "notification" && typeof frame?.notification !== "object") {
    throw new SyntaxError("notification without notification");
  }
  return frame as unknown as ServerFrame;
}
