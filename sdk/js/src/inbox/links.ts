import type { Notification } from "../generated/api.js";

/** Turns a notification into the address that it opens; null for none. For `app://` and the like. */
export type LinkResolver = (notification: Notification) => string | null;

/**
 * The address that may be opened: http and https only, whatever a producer or a resolver says, so
 * that no notification can run script.
 */
export function safeLink(notification: Notification, resolve: LinkResolver | undefined, base: string): string | null {
  const said = resolve ? resolve(notification) : (notification.object?.url ?? null);
  if (!said) return null;
  try {
    const url = new URL(said, base);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
