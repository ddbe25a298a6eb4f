/** What is wrong with a YAML text as YAML, found without letting a hostile one cost more than its length. */
import { type Document, isAlias, isCollection, isMap, isScalar, isSeq, type Node } from 'yaml';

/** Times an anchor may be written out; more is a bomb ("billion laughs"), not a way to save typing. */
export const MAX_ALIASES = 200;

/** Policy documents are some ten levels deep. */
const MAX_DEPTH = 100;
const COMPACT_LISTS = new RegExp(`^[ ]*(?:- ){${MAX_DEPTH}}`, 'm');

/**
 * A rough look before parsing, since the parser's time grows with the square of the depth: brackets wherever they stand, and
 * lists that begin on one line. Deep indentation needs no look: it costs its own length in spaces.
 */
export function isNestedTooDeeply(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x5b || code === 0x7b) depth++;
    else if ((code === 0x5d || code === 0x7d) && depth > 0) depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return COMPACT_LISTS.test(text);
}

export interface Fault {
  readonly offset: number;
  readonly message: string;
}

/** The parser's own findings, keys that stand twice, and aliases whose anchor does not stand before them. */
export function findFaults(document: Document): Fault[] {
  const faults = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    offset: pos[0],
    message: message.split('\n', 1)[0] as string,
  }));
  look(document.contents, new Set(), faults);
  return faults;
}

/** Walks in the order of writing, so that an anchor is known from where it stands. */
function look(node: Node | null, anchors: Set<string>, faults: Fault[]): void {
  if (isAlias(node)) {
    if (anchors.has(node.source)) return;
    faults.push({ offset: node.range?.[0] ?? 0, message: `the anchor of *${node.source} does not stand before it` });
    return;
  }
  if (!isScalar(node) && !isCollection(node)) return;
  if (node.anchor !== undefined) anchors.add(node.anchor);
  if (isSeq<Node>(node)) for (const item of node.items) look(item, anchors, faults);
  if (!isMap<Node, Node | null>(node)) return;
  const seen = new Set<string>();
  for (const { key, value } of node.items) {
    look(key, anchors, faults);
    look(value, anchors, faults);
    if (!isScalar(key)) continue;
    const name = String(key.value);
    if (seen.has(name) && name !== '<<')
      faults.push({ offset: key.range?.[0] ?? 0, message: `"${name}" stands here twice` });
    seen.add(name);
  }
}
