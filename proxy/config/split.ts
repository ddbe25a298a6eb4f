/**
 * A YAML stream as the texts of its documents, so that of a file that changed only the documents that changed are read
 * again.
 */

export interface DocumentText {
  /** With the `---` line before it. */
  readonly text: string;
  /** Lines of the stream before it. */
  readonly linesBefore: number;
}

/**
 * No scalar may hold a line that begins with `---` (YAML 1.2.2, `c-forbidden`), so these lines part documents wherever they
 * stand. A stream with directives or `...` lines stays whole: what they say may be meant for the next document.
 */
export function splitDocuments(text: string): DocumentText[] {
  if (text.startsWith('%') || text.startsWith('...') || text.includes('\n%') || text.includes('\n...')) {
    return [{ text, linesBefore: 0 }];
  }
  const parts: DocumentText[] = [];
  let start = 0;
  let line = 0;
  let linesBefore = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
    line++;
    if (!isMarker(text, at + 1)) continue;
    parts.push({ text: text.slice(start, at + 1), linesBefore });
    start = at + 1;
    linesBefore = line;
  }
  parts.push({ text: text.slice(start), linesBefore });
  return parts;
}

function isMarker(text: string, at: number): boolean {
  if (!text.startsWith('---', at)) return false;
  const after = text[at + 3];
  return after === undefined || after === '\n' || after === '\r' || after === ' ' || after === '\t';
}
