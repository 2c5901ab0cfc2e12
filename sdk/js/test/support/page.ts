// A web page beside a node: serves dist/, and hands /v1/ on to the node, as an app's proxy does.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import type { Server } from "node:http";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";
import type { Site } from "./node.js";

const HTML = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test</title>
<link rel="icon" href="data:,"></head><body><main><h1>Page</h1><div id="place"></div></main></body></html>`;

export class PageServer {
  /** What is answered to any path that is not served otherwise. */
  html = HTML;
  /** Sockets that are open now. */
  readonly streams = new Set<Socket>();

  readonly #all = new Set<Socket>();
  readonly #onward = new WeakMap<Socket, Socket>();

  private constructor(private readonly http: Server) {}

  static async start(site: Pick<Site, "port">, port = 0): Promise<PageServer> {
    const http = createServer();
    const server = new PageServer(http);
    http.on("request", (request, answer) => {
      const path = request.url ?? "/";
      if (path.startsWith("/v1/")) {
        const { method, headers } = request;
        const onward = httpRequest({ port: site.port, host: "127.0.0.1", path, method, headers }, (back) => {
          answer.writeHead(back.statusCode ?? 502, back.headers);
          back.pipe(answer);
        });
        onward.on("error", () => answer.writeHead(502).end());
        request.pipe(onward);
      } else if (path.startsWith("/dist/")) {
        const type = path.endsWith(".js") ? "text/javascript" : "application/json";
        readFile(`.${path}`).then(
          (file) => answer.writeHead(200, { "content-type": type }).end(file),
          () => answer.writeHead(404).end(),
        );
      } else answer.writeHead(200, { "content-type": "text/html" }).end(server.html);
    });
    http.on("upgrade", (request, socket: Socket) => {
      const onward = connect(site.port, "127.0.0.1", () => {
        const head = request.rawHeaders.map((part, n) => part + (n % 2 ? "\r\n" : ": ")).join("");
        onward.write(`GET ${request.url} HTTP/1.1\r\n${head}\r\n`);
        onward.pipe(socket).pipe(onward);
      });
      server.streams.add(socket);
      server.#all.add(socket).add(onward);
      server.#onward.set(socket, onward);
      const end = () => {
        server.streams.delete(socket);
        server.#all.delete(socket);
        server.#all.delete(onward);
        socket.destroy();
        onward.destroy();
      };
      for (const one of [socket, onward]) one.on("error", end).on("close", end);
    });
    http.listen(port, "127.0.0.1");
    await once(http, "listening");
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}/`;
  }

  /** The connections that are open now go dead without a word, as after a sleep in another network. */
  silence(): void {
    for (const stream of this.streams) {
      stream.unpipe().pause();
      this.#onward.get(stream)?.unpipe().pause();
    }
    this.streams.clear();
  }

  async stop(): Promise<void> {
    for (const stream of this.#all) stream.destroy();
    this.http.close();
    this.http.closeAllConnections();
    await once(this.http, "close");
  }
}

/** Debian's Chromium, or the one that CHROMIUM names. */
export function launch(): Promise<Browser> {
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
