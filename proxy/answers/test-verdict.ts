/** An expectation against what explain says. */
import type { Path } from '../config/place.ts';
import { shareText, timeText } from './explain-text.ts';
import type { BackendView, Explanation, HeaderField } from './explanation.ts';
import type { Expectation, ExpectedHeaders } from './policy-test.ts';

export interface Disappointment {
  /** Below `expect`. */
  readonly path: Path;
  /** `is X, not Y`. */
  readonly message: string;
}

/** Shares are told with two decimals, so what differs by less is equal. */
const SHARE_TOLERANCE = 0.005;

export function disappointments(expected: Expectation, found: Explanation): Disappointment[] {
  const check = new Check();
  const { verdict, service, route, timeouts, retries } = found;
  const why = verdict.word === '' || expected.verdict === 'refused' ? '' : ` (${verdict.word})`;
  check.equal(['verdict'], expected.verdict, verdict.outcome, (text) => text + (text === 'refused' ? why : ''));
  check.equal(['status'], expected.status, verdict.status);
  check.equal(['word'], expected.word, verdict.word === '' ? 'none' : verdict.word);
  check.equal(['service'], expected.service, service === null ? 'none' : serviceKey(service));
  check.equal(['route'], expected.route, route?.name ?? 'none');
  check.equal(['timeout'], expected.timeout, timeouts.requestMs, timeText);
  check.equal(['attemptTimeout'], expected.attemptTimeout, timeouts.attemptMs, timeText);
  check.equal(['retries'], expected.retries, retries);
  const reached = found.backends.filter(({ share }) => share > 0);
  if (expected.backends !== undefined) check.shares(expected.backends, reached);
  for (const backend of reached) check.backend(expected, backend);
  if (verdict.outcome !== 'forwarded') check.headers('returns', expected.returns, verdict.headers, '');
  return check.found;
}

function serviceKey({ namespace, name, port }: NonNullable<Explanation['service']>): string {
  return `${namespace}/${name}:${port}`;
}

class Check {
  readonly found: Disappointment[] = [];

  equal<T>(path: Path, expected: T | undefined, found: T, show: (value: T) => string = String, where = ''): void {
    if (expected === undefined || expected === found) return;
    this.found.push({ path, message: `is ${show(found)}${where}, not ${show(expected)}` });
  }

  shares(expected: Readonly<Record<string, number>>, reached: readonly BackendView[]): void {
    const shares = new Map<string, number>();
    for (const { cluster, share } of reached) {
      shares.set(cluster ?? 'invalid', (shares.get(cluster ?? 'invalid') ?? 0) + share * 100);
    }
    for (const [name, percent] of Object.entries(expected)) {
      const share = shares.get(name) ?? 0;
      shares.delete(name);
      if (Math.abs(share - percent) <= SHARE_TOLERANCE) continue;
      this.found.push({ path: ['backends', name], message: `is ${shareText(share / 100)}, not ${percent} %` });
    }
    for (const [name, share] of shares) {
      this.found.push({ path: ['backends'], message: `leaves out ${name}, which gets ${shareText(share / 100)}` });
    }
  }

  backend({ sends, returns, mutualTls }: Expectation, backend: BackendView): void {
    const { request, cluster, responseChanges } = backend;
    const where = ` to ${cluster}`;
    this.equal(['mutualTls'], mutualTls, backend.mutualTls, String, where);
    if (request === null) return;
    this.equal(['sends', 'authority'], sends?.authority, request.authority, String, where);
    this.equal(['sends', 'path'], sends?.path, request.path, String, where);
    this.headers('sends', sends, request.headers, where);
    const returned = responseChanges.flatMap(({ name, after }) => (after === null ? [] : [[name, after] as const]));
    this.headers('returns', returns, returned, ` from ${cluster}`);
  }

  headers(
    side: 'sends' | 'returns',
    { headers = {}, without = [] }: ExpectedHeaders = {},
    found: readonly HeaderField[],
    where: string,
  ): void {
    const valueOf = (name: string): string => {
      const values = found.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
      return values.length === 0 ? 'absent' : JSON.stringify(values.join(', '));
    };
    for (const [name, value] of Object.entries(headers)) {
      this.equal([side, 'headers', name], JSON.stringify(value), valueOf(name), String, where);
    }
    for (const [i, name] of without.entries()) {
      this.equal([side, 'without', i], 'absent', valueOf(name), String, where);
    }
  }
}
