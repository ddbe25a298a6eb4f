/** Facts by name, each a short text, and what differs between two sets of them. */

/** null: the fact is not there. */
export type Facts = Readonly<Record<string, string | null>>;

export interface FactChange {
  readonly what: string;
  readonly before: string | null;
  readonly after: string | null;
}

/** In the order of `before`, then what only `after` has. */
export function compareFacts(before: Facts, after: Facts): FactChange[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names]
    .map((what) => ({ what, before: before[what] ?? null, after: after[what] ?? null }))
    .filter((change) => change.before !== change.after);
}
