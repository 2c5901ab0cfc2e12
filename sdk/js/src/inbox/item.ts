import type { Notification } from "../generated/api.js";
import { make } from "./dom.js";
import type { InboxStrings } from "./strings.js";
import { relativeTime } from "./time.js";

/** What a line of the list is made from. */
export interface ItemContext {
  readonly strings: InboxStrings;
  readonly locale: string | undefined;
  readonly now: Date;
  readonly link: string | null;
  readonly open: (event: Event) => void;
  readonly mark: () => void;
}

/** One line of the list. */
export function renderItem(item: Notification, context: ItemContext): HTMLLIElement {
  const { strings, link } = context;
  const unread = !item.read_at;
  const title = make("span", { class: "title", part: "item-title" });
  if (unread) title.append(make("span", { class: "hidden" }, strings.unread));
  title.append(item.title);
  const shared = { class: "item", part: "item", "data-key": item.id, tabindex: "-1" };
  const main = link ? make("a", { ...shared, href: link }) : make("button", { ...shared, type: "button" });
  main.append(title);
  if (item.body) main.append(make("span", { class: "body", part: "item-body" }, item.body));
  const when = relativeTime(new Date(item.time), context.now, context.locale, strings.now);
  main.append(make("time", { datetime: item.time, part: "item-time" }, when));
  main.addEventListener("click", context.open);
  const line = make("li", unread ? { class: "unread", part: "row row-unread" } : { part: "row" }, main);
  if (unread) {
    const label = `${strings.markOne}: ${item.title}`;
    const mark = make("button", { class: "mark", part: "mark", type: "button", "aria-label": label, title: strings.markOne }, "✓");
    mark.addEventListener("click", context.mark);
    line.append(mark);
  }
  return line;
}
