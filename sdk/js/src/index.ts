/** Live notifications from Tidings. Start at `connect`. */

export { connect } from "./connect.js";
export type { ConnectOptions } from "./connect.js";
export { TidingsClient } from "./client.js";
export type { ClientEvents, Which } from "./client.js";
export { localStorageCursor } from "./cursor.js";
export type { CursorStorage, Place } from "./cursor.js";
export { TidingsError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { Reset, State } from "./feed.js";
export type { Selection, Update } from "./frames.js";
export type { InboxCounters, InboxPage, Notification, ProblemDetails } from "./generated/api.js";
export type { InboxApi, MarkName, PageOptions } from "./inbox-api.js";
export type { WebSocketConstructor, WebSocketLike } from "./session.js";
export type { TokenProvider } from "./token.js";
