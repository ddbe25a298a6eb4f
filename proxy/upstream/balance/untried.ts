/** The way out of a pick that hit endpoints which this request has tried already. */

/**
 * The first endpoint from place `start` on that is not in `tried`; the one at `start` if all were tried. At most
 * `tried.length + 1` steps, since `endpoints` holds each endpoint once.
 */
export function untriedFrom<E>(endpoints: readonly E[], start: number, tried: readonly E[] | null): E {
  const first = endpoints[start] as E;
  if (tried === null) return first;
  const count = endpoints.length;
  for (let step = 0; step < count; step++) {
    const place = start + step;
    const endpoint = endpoints[place < count ? place : place - count] as E;
    if (!tried.includes(endpoint)) return endpoint;
  }
  return first;
}
