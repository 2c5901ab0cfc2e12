import { connect } from "../index.js";
import type { TidingsClient } from "../client.js";
import type { Notification } from "../generated/api.js";
import type { TokenProvider } from "../token.js";
import { bellIcon, make } from "./dom.js";
import { renderItem } from "./item.js";
import { safeLink } from "./links.js";
import type { LinkResolver } from "./links.js";
import { InboxList } from "./list.js";
import { InboxNote } from "./note.js";
import { ENGLISH } from "./strings.js";
import type { InboxStrings } from "./strings.js";
import { STYLES } from "./styles.js";

/** How many notifications are loaded at a time. */
const PAGE = 20;
/** So near to the end of the list, more is loaded, in pixels. */
const NEAR_END_PX = 120;
/** How often relative times are written anew while the panel is open, in milliseconds. */
const CLOCK_MS = 30_000;

/**
 * `<tidings-inbox url="…" token="…">`: a bell with an unread badge that opens the list.
 *
 * Attributes: `url`, `token`, `share-tabs`. Properties: `tokenProvider`, `client` (to use one that
 * exists), `strings`, `resolveLink`. Events: `tidings-open` and `tidings-close` of the panel, and
 * `tidings-navigate` (`detail.notification`, `detail.url`) before a notification opens its address,
 * which `preventDefault()` keeps from happening.
 */
export class TidingsInbox extends HTMLElement {
  static readonly observedAttributes = ["url", "token", "share-tabs"];

  /** Gives tokens, in place of the `token` attribute. */
  get tokenProvider(): TokenProvider | undefined {
    return this.#tokenProvider;
  }
  set tokenProvider(provider: TokenProvider | undefined) {
    this.#tokenProvider = provider;
    this.#reconnect();
  }

  /** The client in use. One of your own you close yourself: the element never does. */
  get client(): TidingsClient | undefined {
    return this.#client;
  }
  set client(client: TidingsClient | undefined) {
    this.#given = client;
    // Taken from here and given back: it is the page's now.
    if (client === this.#owned) this.#owned = undefined;
    this.#reconnect();
  }

  /** Words in place of the English ones. */
  set strings(strings: Partial<InboxStrings>) {
    this.#strings = { ...ENGLISH, ...strings };
    this.#render();
  }

  /** Makes addresses that a browser opens from the app's own, such as `app://`. */
  resolveLink: LinkResolver | undefined;

  #tokenProvider: TokenProvider | undefined;
  #given: TidingsClient | undefined;
  #client: TidingsClient | undefined;
  /** The client if it was made here, and is closed here. */
  #owned: TidingsClient | undefined;
  #stopListening: Array<() => void> = [];
  #strings = ENGLISH;
  readonly #list = new InboxList();
  #next: string | null | undefined;
  /** How far a list reaches that was loaded before the client knew its place. */
  #blindSeq: number | undefined;
  /** Counts the lists that were begun, so that a page for an earlier one is told apart. */
  #turn = 0;
  #phase: "idle" | "loading" | "failed" | "loaded" = "idle";
  #clock: ReturnType<typeof setInterval> | undefined;
  /** Where the arrow keys stand: the id of a notification. */
  #at: string | undefined;
  #scheduled = false;

  readonly #badge = make("span", { class: "badge", part: "badge", "aria-hidden": "true" });
  readonly #bell = make("button", {
    class: "bell", part: "bell", type: "button", "aria-haspopup": "dialog", "aria-expanded": "false",
  });
  readonly #heading = make("h2", { id: "title" });
  readonly #markAll = make("button", { part: "mark-all", type: "button" });
  readonly #offline = make("p", { class: "note", part: "offline" });
  readonly #rows = make("ul", { part: "list", role: "list", "aria-labelledby": "title" });
  readonly #note = new InboxNote(() => this.#again());
  readonly #scroll = make("div", { class: "scroll", part: "scroll" }, this.#offline, this.#rows, this.#note.element);
  readonly #panel = make("div", { class: "panel", part: "panel", role: "dialog", "aria-labelledby": "title" });
  readonly #live = make("div", { class: "hidden", role: "status", "aria-live": "polite" });

  constructor() {
    super();
    this.#bell.append(bellIcon(), this.#badge);
    this.#panel.append(make("header", { part: "header" }, this.#heading, this.#markAll), this.#scroll);
    this.#panel.hidden = true;
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.append(make("style", {}, STYLES), this.#bell, this.#panel, this.#live);
    this.#bell.addEventListener("click", () => (this.#panel.hidden ? this.open() : this.close()));
    this.#markAll.addEventListener("click", () => this.#readAll());
    this.#scroll.addEventListener("scroll", () => this.#loadMoreIfNear());
    root.addEventListener("keydown", (event) => this.#key(event as KeyboardEvent));
  }

  connectedCallback(): void {
    document.addEventListener("pointerdown", this.#outside);
    this.#reconnect();
    this.#render();
  }

  disconnectedCallback(): void {
    document.removeEventListener("pointerdown", this.#outside);
    this.close();
    this.#disconnect();
  }

  attributeChangedCallback(_name: string, before: string | null, after: string | null): void {
    if (before !== after) this.#reconnect();
  }

  /** Opens the panel. */
  open(): void {
    if (!this.#panel.hidden) return;
    this.#panel.hidden = false;
    this.#bell.setAttribute("aria-expanded", "true");
    this.#clock = setInterval(() => this.#render(), CLOCK_MS);
    if (this.#phase === "idle" || this.#phase === "failed") void this.#load();
    this.#saySeen();
    this.#render();
    this.#place();
    (this.#focusable() ?? this.#markAll).focus();
    this.dispatchEvent(new CustomEvent("tidings-open", { bubbles: true, composed: true }));
  }

  /** Closes the panel. */
  close(): void {
    if (this.#panel.hidden) return;
    const focused = this.#panel.contains(this.shadowRoot?.activeElement ?? null);
    this.#panel.hidden = true;
    this.#bell.setAttribute("aria-expanded", "false");
    clearInterval(this.#clock);
    if (focused) this.#bell.focus();
    this.dispatchEvent(new CustomEvent("tidings-close", { bubbles: true, composed: true }));
  }

  /** The panel lies below the bell towards the side where there is room. */
  #place(): void {
    this.#panel.classList.remove("start");
    const { left, right } = this.#panel.getBoundingClientRect();
    const outside = left < 0 || right > document.documentElement.clientWidth;
    this.#panel.classList.toggle("start", outside);
  }

  readonly #outside = (event: Event): void => {
    if (!event.composedPath().includes(this)) this.close();
  };

  /** Attributes come one by one: connects once for all that are set now. */
  #reconnect(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#disconnect();
      if (this.isConnected) this.#connect();
    });
  }

  #connect(): void {
    const url = this.getAttribute("url");
    const token = this.getAttribute("token") ?? undefined;
    const tokenProvider = this.#tokenProvider;
    if (!this.#given && (url === null || !(token ?? tokenProvider))) return;
    const client = (this.#client = this.#given ?? (this.#owned = connect({
      url: url ?? "",
      shareTabs: this.hasAttribute("share-tabs"),
      ...(token === undefined ? {} : { token }),
      ...(tokenProvider === undefined ? {} : { tokenProvider }),
    })));
    this.#stopListening = [
      client.on("notification", (item) => this.#arrive(item)),
      client.on("update", (update) => {
        this.#list.apply(update, new Date().toISOString());
        this.#render();
      }),
      client.on("unread", () => this.#render()),
      client.on("state", () => {
        this.#mendGap();
        this.#render();
      }),
      client.on("reset", () => this.#startOver()),
    ];
    this.#startOver();
  }

  #disconnect(): void {
    for (const stop of this.#stopListening.splice(0)) stop();
    this.#owned?.close();
    this.#owned = this.#client = undefined;
    // Nothing of a user stays for who comes next: the lines are in the page also while the panel is closed.
    this.#clear();
    this.#at = undefined;
    this.#rows.replaceChildren();
    this.#live.textContent = "";
    this.#render();
  }

  #clear(): void {
    this.#turn += 1;
    this.#list.clear();
    this.#next = this.#blindSeq = undefined;
    this.#phase = "idle";
  }

  #startOver(): void {
    this.#clear();
    if (!this.#panel.hidden) void this.#load();
    this.#render();
  }

  async #load(): Promise<void> {
    const client = this.#client;
    if (!client || this.#phase === "loading") return;
    const turn = this.#turn;
    const blind = client.lastSeq === undefined;
    this.#phase = "loading";
    this.#render();
    try {
      const page = await client.inbox.page({ limit: PAGE, cursor: this.#next ?? null });
      if (turn !== this.#turn) return;
      this.#list.add(page.items);
      this.#next = page.next ?? null;
      this.#phase = "loaded";
      this.#saySeen();
      // Later pages say how far the inbox reaches, not how far the list does.
      if (blind) this.#blindSeq ??= page.last_seq;
      this.#mendGap();
    } catch {
      if (turn !== this.#turn) return;
      this.#phase = "failed";
    }
    this.#render();
  }

  /** A client without a place begins at its welcome, and never tells what was stored between the first page and that. */
  #mendGap(): void {
    const last = this.#client?.lastSeq;
    if (this.#blindSeq === undefined || last === undefined) return;
    const lacks = last > this.#blindSeq;
    this.#blindSeq = undefined;
    if (lacks) this.#startOver();
  }

  /** Loads anew what failed. */
  #again(): void {
    // The button goes while it loads, and would take the keyboard with it.
    (this.#focusable() ?? this.#markAll).focus({ preventScroll: true });
    void this.#load();
  }

  #loadMoreIfNear(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
    const near = scrollTop + clientHeight > scrollHeight - NEAR_END_PX;
    if (near && this.#next && this.#phase === "loaded") void this.#load();
  }

  #arrive(item: Notification): void {
    // Before the first page is there, what arrives will be in it.
    if (this.#phase !== "idle") this.#list.add([item]);
    this.#live.textContent = this.#strings.arrived(item.title);
    this.#saySeen();
    this.#render();
  }

  #saySeen(): void {
    const newest = this.#list.items.find(({ seen_at }) => !seen_at);
    // A convenience for other screens: what is not said now is said with the next.
    if (newest && !this.#panel.hidden) this.#client?.seen({ upToSeq: newest.seq }).catch(() => undefined);
  }

  #read(items: readonly Notification[]): void {
    const ids = items.filter(({ read_at }) => !read_at).map(({ id }) => id);
    if (ids.length === 0) return;
    this.#markHere({ ids });
    this.#client?.read(ids).catch(() => this.#startOver());
  }

  #readAll(): void {
    const newest = this.#list.items[0];
    if (!newest) return;
    this.#markHere({ up_to_seq: newest.seq });
    this.#client?.read({ upToSeq: newest.seq }).catch(() => this.#startOver());
  }

  /** Shows a mark at once; the server's update says the same later. */
  #markHere(read: { ids: string[] } | { up_to_seq: number }): void {
    this.#list.apply({ type: "update", unread: 0, read }, new Date().toISOString());
    this.#render();
  }

  #open(item: Notification, url: string | null, event: Event): void {
    this.#read([item]);
    const navigate = new CustomEvent("tidings-navigate", {
      bubbles: true, composed: true, cancelable: true, detail: { notification: item, url },
    });
    // The link is an ordinary one: what is not prevented, the browser does.
    if (!this.dispatchEvent(navigate)) event.preventDefault();
  }

  #key(event: KeyboardEvent): void {
    if (this.#panel.hidden) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      return this.close();
    }
    if (event.key === "Tab") return this.#trap(event);
    const rows = this.#items();
    const at = rows.findIndex((row) => row.dataset["key"] === this.#at);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    const row = to === undefined ? undefined : rows[Math.max(0, Math.min(to, rows.length - 1))];
    if (!row) return;
    event.preventDefault();
    this.#at = row.dataset["key"];
    this.#rove();
    row.focus();
  }

  /** Keeps Tab within the open panel. */
  #trap(event: KeyboardEvent): void {
    const stops = [...this.#panel.querySelectorAll<HTMLElement>("button, a")].filter(
      (stop) => stop.tabIndex >= 0 && stop.getClientRects().length > 0,
    );
    const active = this.shadowRoot?.activeElement;
    const [first, last] = [stops[0], stops.at(-1)];
    const leaving = event.shiftKey ? active === first : active === last;
    if (!leaving && active !== this.#bell) return;
    event.preventDefault();
    (event.shiftKey ? last : first)?.focus();
  }

  #items(): HTMLElement[] {
    return [...this.#rows.querySelectorAll<HTMLElement>(".item")];
  }

  #focusable(): HTMLElement | undefined {
    return this.#items().find((item) => item.tabIndex === 0);
  }

  /** One line of the list is in the tab order; the arrow keys go through the others. */
  #rove(): void {
    const items = this.#items();
    const at = items.find((item) => item.dataset["key"] === this.#at) ?? items[0];
    for (const item of items) item.tabIndex = item === at ? 0 : -1;
  }

  #render(): void {
    const unread = this.#client?.unread ?? 0;
    const strings = this.#strings;
    this.#bell.setAttribute("aria-label", strings.bell(unread));
    this.#badge.textContent = unread > 99 ? "99+" : String(unread);
    this.#badge.hidden = unread === 0;
    if (this.#panel.hidden) return;
    this.#heading.textContent = strings.title;
    this.#markAll.textContent = strings.markAll;
    this.#offline.textContent = strings.offline;
    this.#offline.hidden = !["offline", "waiting", "closed"].includes(this.#client?.state ?? "closed");
    this.#renderRows();
    const empty = this.#list.items.length === 0 ? strings.empty : "";
    if (this.#phase === "failed") this.#note.show(strings.error, strings.retry);
    else this.#note.show(this.#phase === "loading" ? strings.loading : empty);
  }

  #renderRows(): void {
    const active = this.shadowRoot?.activeElement;
    const focused = active instanceof HTMLElement ? active.closest("li")?.querySelector<HTMLElement>(".item") : null;
    const key = focused?.dataset["key"];
    const locale = this.closest("[lang]")?.getAttribute("lang") ?? undefined;
    const now = new Date();
    const rows = this.#list.items.map((item) => {
      const link = safeLink(item, this.resolveLink, document.baseURI);
      return renderItem(item, {
        strings: this.#strings, locale, now, link,
        open: (event) => this.#open(item, link, event),
        mark: () => this.#read([item]),
      });
    });
    this.#rows.replaceChildren(...rows);
    this.#rows.hidden = rows.length === 0;
    this.#rove();
    // Lines are made anew: the keyboard stays where it was, and so does what is looked at.
    if (key) this.#items().find((item) => item.dataset["key"] === key)?.focus({ preventScroll: true });
  }
}
