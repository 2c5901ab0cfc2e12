import { readServerFrame } from "./frames.js";
import type {
  ClientFrame,
  ErrorFrame,
  Hello,
  NotificationFrame,
  Renewed,
  Update,
  Welcome,
} from "./frames.js";

/** The subprotocol that this client speaks. */
export const SUBPROTOCOL = "tidings.v1";
/** Not a code of the wire: the connection ended without a close frame. */
export const GONE = 1006;

/** The part of the browser's WebSocket that is used; that of the package `ws` fits too. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** Makes WebSockets. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** How a session ended. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
  /** What a `bye` before said. */
  readonly retryMs?: number;
  /** Whether the hello went out. */
  readonly said: boolean;
  /** How long the session was open, in milliseconds; undefined if it never was. */
  readonly livedMs?: number;
}

/** What a session tells. Nothing comes after `ended`. */
export interface SessionListener {
  welcome(frame: Welcome): void;
  renewed(frame: Renewed): void;
  notification(frame: NotificationFrame): void;
  update(frame: Update): void;
  refused(frame: ErrorFrame): void;
  ended(ending: Ending): void;
}

/** How long things may take, in milliseconds. */
export interface SessionTimeouts {
  /** From dialling to `welcome`. */
  readonly connectMs: number;
  /** From a ping to any sign of life, at most; a heartbeat if that is shorter. */
  readonly pongMs: number;
}

/** One connection, from hello to its end. */
export class Session {
  readonly #socket: WebSocketLike;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeatMs = 0;
  #welcomedAt: number | undefined;
  #heardAt = 0;
  #retryMs: number | undefined;
  #said = false;
  #over = false;

  constructor(
    WebSocketImpl: WebSocketConstructor,
    url: string,
    hello: Hello,
    private readonly timeouts: SessionTimeouts,
    private readonly listener: SessionListener,
  ) {
    const socket = (this.#socket = new WebSocketImpl(url, [SUBPROTOCOL]));
    socket.onopen = () => {
      this.#said = true;
      this.send(hello);
    };
    socket.onmessage = (event: { data: unknown }) => this.#hear(String(event.data));
    socket.onclose = (event: { code: number; reason: unknown }) =>
      this.#end(event.code, String(event.reason));
    // A close follows, which says more.
    socket.onerror = () => undefined;
    this.#wait(timeouts.connectMs, () => this.drop(GONE, "no welcome came in time"));
  }

  /** Whether a welcome came and no end. */
  get isLive(): boolean {
    return this.#welcomedAt !== undefined && !this.#over;
  }

  /** Says a frame; nothing happens on a socket that is not open. */
  send(frame: ClientFrame): void {
    if (!this.#over && this.#socket.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** Asks whether the server is there, and ends the session if it is not. */
  probe(): void {
    if (!this.isLive) return;
    this.send({ type: "ping" });
    const asked = Date.now();
    this.#wait(Math.min(this.timeouts.pongMs, this.#heartbeatMs), () => {
      if (this.#heardAt >= asked) this.#watch();
      else this.drop(GONE, "the server is silent");
    });
  }

  /** Ends the session now, without waiting for a peer that may be gone. */
  drop(code: number, reason: string): void {
    if (this.#over) return;
    const socket = this.#socket;
    this.#end(code, reason);
    socket.close(1000);
  }

  #hear(text: string): void {
    if (this.#over) return;
    this.#heardAt = Date.now();
    let frame;
    try {
      frame = readServerFrame(text);
    } catch (error) {
      return this.drop(4400, String(error));
    }
    switch (frame?.type) {
      case "welcome":
        this.#welcomedAt = this.#heardAt;
        this.#heartbeatMs = frame.heartbeat_ms;
        this.#watch();
        return this.listener.welcome(frame);
      case "notification":
        return this.isLive ? this.listener.notification(frame) : undefined;
      case "update":
        return this.isLive ? this.listener.update(frame) : undefined;
      case "renewed":
        return this.isLive ? this.listener.renewed(frame) : undefined;
      case "error":
        return this.listener.refused(frame);
      case "bye":
        this.#retryMs = frame.retry_ms;
        return;
      case "ping":
        return this.send({ type: "pong" });
    }
  }

  /** After a heartbeat without a word, asks. One timer a session, not one a frame. */
  #watch(): void {
    const quiet = Date.now() - this.#heardAt;
    this.#wait(Math.max(this.#heartbeatMs - quiet, 0), () => {
      if (Date.now() - this.#heardAt >= this.#heartbeatMs) this.probe();
      else this.#watch();
    });
  }

  #wait(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #end(code: number, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.listener.ended({
      code,
      reason,
      said: this.#said,
      ...(this.#retryMs === undefined ? {} : { retryMs: this.#retryMs }),
      ...(this.#welcomedAt === undefined ? {} : { livedMs: Date.now() - this.#welcomedAt }),
    });
  }
}
