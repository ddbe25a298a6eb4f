/**
 * Keeps secrets out of what weft tells of itself: log lines, spans and dumps. Header values and bodies are never told
 * at all; what is left are queries that carry credentials, and policy that sets them.
 */
export const REDACTED = '[redacted]';

/** Query parameters that carry credentials: OAuth 2.0, common API keys, and the signed URLs of object stores. */
const SECRET_PARAMETER =
  /([?&;](?:access_token|id_token|refresh_token|token|auth|api[-_]?key|key|code|secret|client_secret|pass|password|passwd|jwt|sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature|awsaccesskeyid)=)[^&;#]*/gi;

/** `path` with the values of such parameters taken out. */
export function redactQuery(path: string): string {
  const query = path.indexOf('?');
  return query < 0 ? path : path.slice(0, query) + path.slice(query).replace(SECRET_PARAMETER, `$1${REDACTED}`);
}

const SECRET_NAME =
  /authorization|cookie|token|secret|passw|credential|private[-_]?key|api[-_]?key|signature|jwt|session/i;
const SECRET_TEXT = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const USERINFO = /(\/\/)[^/@\s]+@/g;

/** A property whose name says what is secret, but whose value names a file or counts something, is no secret. */
const HARMLESS_NAME = /file|dir|path|percent|count|name$/i;

/**
 * `value` as indented JSON without secrets: values of properties that are named like one, `value` beside a `name` or
 * `key` that is (as header modifiers write it), the second of a pair whose first is (as they are compiled), private keys
 * and userinfo wherever they stand in a text.
 */
export function redactedJson(value: unknown): string {
  return JSON.stringify(value, redactProperty, 2);
}

function redactProperty(this: unknown, key: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (value !== '' && SECRET_NAME.test(key) && !HARMLESS_NAME.test(key)) return REDACTED;
  if ((key === 'value' || key === '1') && SECRET_NAME.test(neighbourName(this))) return REDACTED;
  return value.replace(SECRET_TEXT, REDACTED).replace(USERINFO, `$1${REDACTED}@`);
}

function neighbourName(holder: unknown): string {
  if (typeof holder !== 'object' || holder === null) return '';
  if (Array.isArray(holder)) return holder.length === 2 ? String(holder[0]) : '';
  const { name, key } = holder as { name?: unknown; key?: unknown };
  return `${typeof name === 'string' ? name : ''} ${typeof key === 'string' ? key : ''}`;
}
