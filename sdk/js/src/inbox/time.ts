const UNITS: ReadonlyArray<[Intl.RelativeTimeFormatUnit, number]> = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** How long ago, in the words of `locale`: `3 hr. ago`; `nowWord` within the last minute. */
export function relativeTime(then: Date, now: Date, locale: string | undefined, nowWord: string): string {
  const seconds = (now.getTime() - then.getTime()) / 1000;
  for (const [unit, length] of UNITS) {
    if (seconds >= length) {
      const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });
      return format.format(-Math.floor(seconds / length), unit);
    }
  }
  return nowWord;
}
