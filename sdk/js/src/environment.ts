/** What the surroundings tell. */
export interface EnvironmentListener {
  /** There is a network again. */
  online(): void;
  /** There is none. */
  offline(): void;
  /** The page is looked at again, or the machine has slept: what was open may be dead. */
  woke(): void;
}

const TICK_MS = 5_000;
/** A timer that is this late says that the machine slept. */
const SLEPT_MS = 10_000;

/** Whether the browser says that there is no network. */
export function isOffline(): boolean {
  return globalThis.navigator?.onLine === false;
}

/** Watches network, visibility and sleep. Returns what ends that. */
export function watchEnvironment(listener: EnvironmentListener): () => void {
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    if (now - last > TICK_MS + SLEPT_MS) listener.woke();
    last = now;
  }, TICK_MS);
  // Node: watching alone keeps no process alive.
  (timer as { unref?: () => void }).unref?.();

  const ends: Array<() => void> = [() => clearInterval(timer)];
  const listen = (target: EventTarget | undefined, name: string, then: () => void) => {
    target?.addEventListener?.(name, then);
    ends.push(() => target?.removeEventListener?.(name, then));
  };
  if (typeof window === "object") {
    listen(window, "online", () => listener.online());
    listen(window, "offline", () => listener.offline());
    listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") listener.woke();
    });
  }
  return () => ends.forEach((end) => end());
}
