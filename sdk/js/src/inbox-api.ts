import type { Selection } from "./frames.js";
import type { InboxCounters, InboxPage, Notification } from "./generated/api.js";
import type { Http } from "./http.js";

/** What a page of the inbox is asked for. */
export interface PageOptions {
  /** The most notifications, 1 to 1000; 50 unless said. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly cursor?: string | null;
  /** Leaves out what it answers false for: such a page holds fewer than `limit`. */
  readonly filter?: (notification: Notification) => boolean;
}

/** A mark, by the name of its request. */
export type MarkName = "seen" | "read" | "archive";

/** The inbox over HTTP. */
export class InboxApi {
  constructor(private readonly http: Http) {}

  /** A part of the inbox, newest first, without archived notifications. */
  async page(options: PageOptions = {}): Promise<InboxPage> {
    const query = new URLSearchParams({ limit: String(options.limit ?? 50) });
    if (options.cursor != null) query.set("cursor", options.cursor);
    const page = await this.http.get<InboxPage>(`/v1/users/me/notifications?${query}`);
    return options.filter ? { ...page, items: page.items.filter(options.filter) } : page;
  }

  /** The inbox's counters. */
  counters(): Promise<InboxCounters> {
    return this.http.get("/v1/users/me/inbox");
  }

  /** Marks notifications now, or fails. The client's own methods wait for the network instead. */
  mark(mark: MarkName, selection: Selection): Promise<InboxCounters> {
    return this.http.post(`/v1/users/me/notifications/${mark}`, selection);
  }

  /**
   * What is in the inbox after `after`, oldest first: at most `limit`, and of the next `limit` numbers
   * only. Archived notifications are left out.
   */
  async after(after: number, limit: number): Promise<Notification[]> {
    // The cursor of this list is the seq that the page ends before.
    const page = await this.page({ limit, cursor: String(after + limit + 1) });
    return page.items.filter((item) => item.seq > after).reverse();
  }
}
