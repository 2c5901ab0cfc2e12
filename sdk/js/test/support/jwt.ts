import { createHmac } from "node:crypto";

/** A token of `user` that is good for `seconds`, signed with `secret`. Each differs from the last. */
export function jwt(user: string, seconds: number, secret = "not checked"): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + seconds, jti: Math.random() };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
