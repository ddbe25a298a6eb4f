/** How durations and percentages are written in policy files and flags, and what they mean. */

/** Gateway API duration (GEP-2257): up to four parts of a whole number and a unit, e.g. `1m30s`. */
const DURATION = /^(?:[0-9]{1,5}(?:h|m|s|ms)){1,4}$/;
const DURATION_PART = /([0-9]+)(ms|h|m|s)/g;
const MILLISECONDS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Milliseconds of a Gateway API duration; null for any other text. */
export function parseDuration(text: string): number | null {
  if (!DURATION.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART)) {
    total += Number(amount) * (MILLISECONDS[unit as string] as number);
  }
  return total;
}

/** The shortest Gateway API duration for whole milliseconds, e.g. 90000 → `1m30s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  let text = '';
  for (const [unit, size] of Object.entries(MILLISECONDS)) {
    const amount = Math.floor(rest / size);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * size;
  }
  return text === '' ? '0s' : text;
}

/** 0 to 100 of `25` or `25%` or `0.5%`; null for any other text. */
export function parsePercent(text: string): number | null {
  const match = /^([0-9]{1,3}(?:\.[0-9]{1,6})?)%?$/.exec(text);
  if (match === null) return null;
  const percent = Number(match[1]);
  return percent <= 100 ? percent : null;
}
