/** What went wrong with a listening socket, told so that whoever chose its address can mend it. */
import { codeOf } from './error-code.ts';

const ADVICE: ReadonlyMap<string, string> = new Map([
  ['EADDRINUSE', 'something listens there already: end it, or choose another port'],
  ['EADDRNOTAVAIL', 'no interface of this host has this address'],
  ['EACCES', 'ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one'],
]);

/** `EADDRINUSE: what to do`; the error's own words where its code is none of the usual ones. */
export function listenProblem(error: unknown): string {
  const code = codeOf(error) ?? '';
  const advice = ADVICE.get(code);
  if (advice !== undefined) return `${code}: ${advice}`;
  return error instanceof Error ? error.message : String(error);
}
