/** The near miss: which of the known words a misspelt one was most likely meant to be. */

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function distance(a: string, b: string): number {
  let previous: number[] = [];
  let current = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (current[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min((next[j - 1] as number) + 1, (current[j] as number) + 1, replaced);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) next[j] = Math.min(next[j] as number, (previous[j - 2] as number) + 1);
    }
    previous = current;
    current = next;
  }
  return current[b.length] as number;
}

/** Longer words are no misspelling of ours; the bound keeps a hostile file from buying quadratic time. */
const LONGEST_WORD = 64;

/** A word that is a good part of the other counts as one slip: `Prefix` for `PathPrefix`. */
function slips(word: string, candidate: string): number {
  return word.length >= 4 && candidate.includes(word) ? 1 : distance(word, candidate);
}

/** The known word closest to `word`, if it is close enough to be a slip; ties go to the first. */
export function nearest(word: string, known: readonly string[]): string | null {
  if (word.length > LONGEST_WORD) return null;
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const edits = slips(word.toLowerCase(), candidate.toLowerCase());
    if (edits < bestDistance) [best, bestDistance] = [candidate, edits];
  }
  return best;
}

/** `did you mean X?`, else the list of what is known, as the advice of a problem. */
export function suggest(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === null ? `one of ${known.join(', ')}` : `did you mean ${near}?`;
}
