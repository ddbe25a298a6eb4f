/** Query parameters as route matches read them. */

/**
 * The parameters of a query string that starts at `from` in `path`, percent-decoded; the first of a name decides
 * (Gateway API v1, HTTPQueryParamMatch). `+` stays `+`: RFC 3986 knows no other meaning. Broken escapes stay as sent.
 */
export function parseQuery(path: string, from: number): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (let start = from; start <= path.length; ) {
    const amp = path.indexOf('&', start);
    const end = amp < 0 ? path.length : amp;
    addParameter(parameters, path.slice(start, end));
    start = end + 1;
  }
  return parameters;
}

function addParameter(parameters: Map<string, string>, pair: string): void {
  if (pair === '') return;
  const equals = pair.indexOf('=');
  const name = decode(equals < 0 ? pair : pair.slice(0, equals));
  if (!parameters.has(name)) parameters.set(name, equals < 0 ? '' : decode(pair.slice(equals + 1)));
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
