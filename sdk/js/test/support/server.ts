// A server of `tidings.v1` that does what a test tells it, in this process.

import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import type { Notification } from "../../src/index.js";
import { until } from "./until.js";

type Frame = Record<string, unknown> & { type: string };

/** One client that connected. */
export class Peer {
  readonly heard: Frame[] = [];
  closed = false;

  constructor(readonly socket: WebSocket) {
    socket.on("message", (data) => this.heard.push(JSON.parse(String(data)) as Frame));
    socket.on("close", () => (this.closed = true));
  }

  say(frame: Frame | string): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** Waits for a frame of this type, and returns the newest. */
  async frame(type: string): Promise<Frame> {
    return until(`a ${type} frame`, () => this.heard.findLast((frame) => frame.type === type));
  }

  /** Waits for hello, and answers it. */
  async welcome(seq: number, more: Record<string, unknown> = {}): Promise<Frame> {
    const hello = await this.frame("hello");
    this.say({ type: "welcome", session: "s", user: "u", seq, unread: 0, heartbeat_ms: 25_000, ...more });
    return hello;
  }

  notify(...seqs: number[]): void {
    for (const seq of seqs) this.say({ type: "notification", seq, notification: { ...notification(seq) } });
  }
}

export function notification(seq: number): Notification {
  const at = "2026-11-23T09:00:00.000Z";
  return {
    id: `00000000-0007-8000-8000-${String(seq).padStart(12, "0")}`,
    seq, created_at: at, event_id: `e${seq}`, source: "test", type: "like", time: at,
    title: `title of ${seq}`, body: "", priority: "normal",
  };
}

export type Handler = (request: IncomingMessage, body: string, answer: ServerResponse) => void;

export class FakeServer {
  readonly peers: Peer[] = [];
  readonly requests: Array<{ method: string; url: string; body: string; token: string }> = [];
  onRequest: Handler = (_request, _body, answer) => {
    answer.setHeader("content-type", "application/json");
    answer.end(JSON.stringify({ unread: 0, last_seq: 0, acked_seq: 0, forgotten_seq: 0 }));
  };

  private constructor(
    private readonly http: Server,
    private readonly sockets: WebSocketServer,
  ) {}

  static async start(port = 0): Promise<FakeServer> {
    const http = createServer();
    const sockets = new WebSocketServer({ server: http, path: "/v1/stream" });
    const server = new FakeServer(http, sockets);
    sockets.on("connection", (socket) => server.peers.push(new Peer(socket)));
    http.on("request", (request, answer) => {
      let body = "";
      request.on("data", (part) => (body += String(part)));
      request.on("end", () => {
        const { method = "", url = "", headers } = request;
        server.requests.push({ method, url, body, token: headers.authorization ?? "" });
        server.onRequest(request, body, answer);
      });
    });
    http.listen(port, "127.0.0.1");
    await once(http, "listening");
    return server;
  }

  get port(): number {
    return (this.http.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Waits for the client's n-th connection, counted from 1. */
  peer(n: number): Promise<Peer> {
    return until(`connection ${n}`, () => this.peers[n - 1]);
  }

  async stop(): Promise<void> {
    for (const { socket } of this.peers) socket.terminate();
    this.sockets.close();
    this.http.close();
    this.http.closeAllConnections();
    await once(this.http, "close");
  }
}
