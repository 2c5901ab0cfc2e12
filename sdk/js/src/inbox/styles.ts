/** Light and dark by `color-scheme`; every colour and size is a variable that a page may set. */
export const STYLES = `
:host { display: inline-block; position: relative; color-scheme: light dark;
  font: var(--tidings-font, 14px/1.4 system-ui, sans-serif);
  --_fg: var(--tidings-color, light-dark(#1c1c1f, #ececf0));
  --_muted: var(--tidings-muted-color, light-dark(#5c5c66, #a9a9b4));
  --_bg: var(--tidings-background, light-dark(#fff, #1c1c20));
  --_line: var(--tidings-border-color, light-dark(#e2e2e8, #38383f));
  --_accent: var(--tidings-accent-color, light-dark(#1f5fd0, #8ab4ff));
  --_badge: var(--tidings-badge-background, #c62323); }
:host([hidden]), [hidden] { display: none !important; }
button { font: inherit; color: inherit; background: none; border: 0; border-radius: 8px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: -2px; }
.bell { position: relative; padding: 8px; color: var(--_fg); line-height: 0; }
.bell svg { width: var(--tidings-bell-size, 24px); height: var(--tidings-bell-size, 24px); }
.badge { position: absolute; top: 0; inset-inline-end: 0; min-width: 18px; padding: 0 4px; box-sizing: border-box;
  border-radius: 9px; background: var(--_badge); color: #fff; font-size: 11px; line-height: 18px; }
.panel { position: absolute; z-index: var(--tidings-z-index, 1000); inset-inline-end: 0; margin-top: 4px;
  width: var(--tidings-width, min(380px, 92vw)); box-sizing: border-box; overflow: hidden;
  border: 1px solid var(--_line); border-radius: var(--tidings-radius, 12px); background: var(--_bg); color: var(--_fg);
  box-shadow: 0 8px 32px rgb(0 0 0 / .2); animation: open .12s ease-out; }
.panel.start { inset-inline: 0 auto; }
@keyframes open { from { opacity: 0; translate: 0 -4px; } }
@media (prefers-reduced-motion: reduce) { .panel { animation: none; } }
header { display: flex; align-items: center; justify-content: space-between; padding: 8px 8px 8px 16px;
  border-bottom: 1px solid var(--_line); }
h2 { margin: 0; font-size: 1.1em; }
header button, .note button, .mark { color: var(--_accent); padding: 6px 8px; }
.scroll { max-height: var(--tidings-height, min(480px, 70vh)); overflow-y: auto; overscroll-behavior: contain; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; align-items: flex-start; border-bottom: 1px solid var(--_line); }
.item { flex: 1; min-width: 0; padding: 10px 8px 10px 16px; color: inherit; text-align: start; text-decoration: none;
  overflow-wrap: anywhere; border-radius: 0; }
.item:hover { background: color-mix(in srgb, var(--_accent) 8%, transparent); }
.item > * { display: block; }
.unread .title { font-weight: 600; }
.unread { box-shadow: inset 3px 0 var(--_accent); }
.body, time { color: var(--_muted); }
time { font-size: .85em; }
.mark { flex: none; margin: 6px; }
.note { padding: 16px; text-align: center; color: var(--_muted); margin: 0; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
