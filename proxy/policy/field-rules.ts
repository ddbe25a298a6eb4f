/**
 * Which header fields a policy may write, and what may stand in them. Config asks before it accepts a document, link
 * asks again: a field that slipped through could split a message or take its framing over.
 */

/**
 * Framing and hop-by-hop fields belong to the connection (RFC 9110 section 7.6.1, RFC 9112 section 6), Host to routing
 * (URLRewrite changes it together with the authority), the `weft-` ones to the two sidecars of a hop.
 */
const PROTECTED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** True for fields that no policy may set, add or remove. Any case. */
function isProtectedField(name: string): boolean {
  const lower = name.toLowerCase();
  return PROTECTED.has(lower) || lower.startsWith('weft-') || lower.startsWith(':');
}

/** What is wrong with writing this field, as the middle of a sentence; null if nothing is. */
export function fieldProblem(name: string, value: string): string | null {
  if (!FIELD_NAME.test(name)) return `${JSON.stringify(name)} is no header field name`;
  if (isProtectedField(name)) return `${name} frames or routes the message and cannot be changed by a policy`;
  if (!FIELD_VALUE.test(value)) return `the value of ${name} holds characters that a header field cannot carry`;
  return null;
}

/** RFC 9110 section 5.6.2, token. */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110 section 5.5 without obs-text: policy files are text, and bytes above 0x7f have no agreed meaning there. */
const FIELD_VALUE = /^(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?$/;
