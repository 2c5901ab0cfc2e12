/** Every word that the component shows or says. Replace any of them through its `strings`. */
export interface InboxStrings {
  /** Name of the bell. */
  bell: (unread: number) => string;
  /** Heading of the panel. */
  title: string;
  markAll: string;
  markOne: string;
  empty: string;
  loading: string;
  error: string;
  retry: string;
  offline: string;
  /** Said to screen readers when something arrives. */
  arrived: (title: string) => string;
  /** Said before the title of what is unread. */
  unread: string;
  /** Less than a minute ago. */
  now: string;
}

/** English. */
export const ENGLISH: InboxStrings = {
  bell: (unread) => (unread === 0 ? "Notifications" : `Notifications, ${unread} unread`),
  title: "Notifications",
  markAll: "Mark all as read",
  markOne: "Mark as read",
  empty: "Nothing here yet",
  loading: "Loading",
  error: "The notifications could not be loaded.",
  retry: "Try again",
  offline: "You are offline. What is new comes when you are back.",
  arrived: (title) => `New notification: ${title}`,
  unread: "Unread: ",
  now: "now",
};
