// Generated from api/openapi.json by `npm run generate`. Do not edit.

/** A part of an inbox, newest first. */
export interface InboxPage {
  /** The notifications. */
  items: Array<Notification>;
  /** The newest notification's `seq`; 0 for an empty inbox. */
  last_seq: number;
  /** Where to go on; absent at the end. */
  next?: string | null;
  /** Notifications that are neither read nor archived, in the whole inbox. */
  unread: number;
}

/** An inbox's counters. */
export interface InboxCounters {
  /** Where what live sessions acknowledged begins: one that began at the newest notification says nothing of those before. */
  acked_after: number;
  /** Up to here live sessions acknowledged everything since `acked_after`. */
  acked_seq: number;
  /** Everything up to here was too old and is gone; 0 while the inbox is whole. */
  forgotten_seq: number;
  /** The newest notification's `seq`; 0 for an empty inbox. */
  last_seq: number;
  /** Notifications that are neither read nor archived. */
  unread: number;
}

/** One person's copy of an event. */
export interface Notification {
  /** Who did it. */
  actor?: string | null;
  /** When the user put it away. */
  archived_at?: string | null;
  /** The text below. */
  body: string;
  /** When it was stored. */
  created_at: string;
  /** The app's own JSON. */
  data?: unknown;
  /** The event's id. */
  event_id: string;
  /** When it is no longer worth delivering. */
  expires_at?: string | null;
  /** Notifications with the same group replace each other on a lock screen. */
  group?: string | null;
  /** Names it in the whole installation. */
  id: string;
  object?: null | Object;
  /** How much the user would mind missing it. */
  priority: Priority;
  /** When the user opened it. */
  read_at?: string | null;
  /** When it was first shown to the user. */
  seen_at?: string | null;
  /** Its place in the inbox: 1, 2, 3 … without holes. */
  seq: number;
  /** The event's producer. */
  source: string;
  /** When it happened. */
  time: string;
  /** One line for a lock screen. */
  title: string;
  /** What kind of thing happened. */
  type: string;
}

/** What a problem says. Boxed, because most results are not problems. */
export interface ProblemDetails {
  /** What is wrong this time, and what to do. */
  detail: string;
  /** The field that is at fault, as a path. */
  field?: string | null;
  /** The HTTP status. */
  status: number;
  /** The kind in words. */
  title: string;
  /** Names the kind of problem, and stays the same across versions. */
  type: string;
}

/** Which notifications are meant: exactly one of the two. */
export interface Which {
  /** These, at most 1000. */
  ids?: Array<string> | null;
  /** All up to this `seq`, itself included. */
  up_to_seq?: number | null;
}

/** What an event is about, in the app's own terms. */
export interface Object {
  /** The app's id for it, 1 to 128 bytes. */
  id: string;
  /** For example `post`, 1 to 128 bytes. */
  type: string;
  /** Where the app shows it, at most 2048 bytes. */
  url?: string | null;
}

/** How much the user would mind missing it. */
export type Priority = "low" | "normal" | "high";
