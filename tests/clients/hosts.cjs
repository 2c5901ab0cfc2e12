// Leads connections to the vendors' hosts to the simulators: for clients that know no other host.
"use strict";

const http2 = require("node:http2");
const tls = require("node:tls");

const ports = JSON.parse(process.env.SIMULATED_HOSTS ?? "{}");
const connect = tls.connect;

tls.connect = function (...args) {
  const options = args.find((arg) => typeof arg === "object" && arg !== null) ?? {};
  const done = args.find((arg) => typeof arg === "function");
  const host = options.host ?? args.find((arg) => typeof arg === "string") ?? options.servername;
  const port = ports[host];
  if (port === undefined) {
    return connect.apply(this, args);
  }
  return connect.call(this, { ...options, host: "127.0.0.1", port, servername: host }, done);
};

// It has a way to TLS of its own.
const connectHttp2 = http2.connect;

http2.connect = function (authority, options, ...rest) {
  const { hostname } = new URL(authority);
  if (ports[hostname] === undefined || typeof options === "function") {
    return connectHttp2.call(this, authority, options, ...rest);
  }
  const createConnection = () =>
    tls.connect({ host: hostname, servername: hostname, ALPNProtocols: ["h2"] });
  const session = connectHttp2.call(this, authority, { ...options, createConnection }, ...rest);
  // firebase-admin 13 sends `:scheme: https:`. Google lets the colon pass; the HTTP/2 library of the
  // simulators does not, and is right (RFC 3986, section 3.1).
  const { request } = session;
  session.request = function (headers, ...more) {
    const scheme = headers[":scheme"]?.replace(/:$/, "") ?? "https";
    return request.call(this, { ...headers, ":scheme": scheme }, ...more);
  };
  return session;
};
