/** What JSON and YAML give, before anybody has looked at it. */

export type JsonObject = Readonly<Record<string, unknown>>;

/** A map of fields: no list, not null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object that a JSON text holds; null where it is no JSON, or holds something else. */
export function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}
