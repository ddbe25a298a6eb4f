import { expect, test } from 'vitest';
import type { Destination, LinkedSnapshot } from '../../../proxy/config/link.ts';
import { OUTBOUND, ToApplication } from '../../../proxy/session/resolve.ts';
import { FAILURES } from '../../../shared/errors.ts';

const APP = { name: 'app' } as unknown as Destination;
const SNAPSHOT = {} as LinkedSnapshot;

function toApplication(app: Destination | null): { resolver: ToApplication; delivered: string[] } {
  const delivered: string[] = [];
  const isLocal = (host: string): boolean => host === '10.0.0.7' || host === 'fd00::7';
  const resolver = new ToApplication(app, isLocal, ({ host, port }) => {
    delivered.push(`${host} ${port}`);
    return { name: `${host} ${port}` } as unknown as Destination;
  });
  return { resolver, delivered };
}

test('what was sent to the inbound listener itself goes to --app, or nowhere', () => {
  expect(toApplication(APP).resolver.destination(SNAPSHOT, 'any', null)).toBe(APP);
  expect(toApplication(null).resolver.destination(SNAPSHOT, 'any', null)).toBe(FAILURES.noApplication);
});

test('what was redirected goes on to where it was going, whatever its authority and --app say', () => {
  const { resolver } = toApplication(APP);
  expect(resolver.destination(SNAPSHOT, 'other:1', { host: '10.0.0.7', port: 8080 })).toEqual({
    name: '10.0.0.7 8080',
  });
  expect(resolver.destination(SNAPSHOT, '', { host: 'fd00::7', port: 8080 })).toEqual({ name: 'fd00::7 8080' });
});

test('an address of another host is refused, even after one of this host', () => {
  const { resolver, delivered } = toApplication(APP);
  resolver.destination(SNAPSHOT, '', { host: '10.0.0.7', port: 80 });
  expect(resolver.destination(SNAPSHOT, '', { host: '10.0.0.8', port: 80 })).toBe(FAILURES.notLocal);
  expect(delivered).toEqual(['10.0.0.7 80']);
});

test('the same port is asked for once per snapshot', () => {
  const { resolver, delivered } = toApplication(APP);
  const ask = (snapshot: LinkedSnapshot, port: number): unknown =>
    resolver.destination(snapshot, '', { host: '10.0.0.7', port });
  expect(ask(SNAPSHOT, 80)).toBe(ask(SNAPSHOT, 80));
  ask(SNAPSHOT, 81);
  ask({} as LinkedSnapshot, 81);
  expect(delivered).toEqual(['10.0.0.7 80', '10.0.0.7 81', '10.0.0.7 81']);
});

test('outbound asks by the original address where there is one, else by the authority', () => {
  const asked: unknown[] = [];
  const snapshot = {
    find: (authority: string) => asked.push(authority),
    findRedirected: (original: unknown, authority: string) => asked.push([original, authority]),
  } as unknown as LinkedSnapshot;
  const original = { host: '10.0.0.1', port: 80 };
  OUTBOUND.destination(snapshot, 'a', null);
  OUTBOUND.destination(snapshot, 'b', original);
  expect(asked).toEqual(['a', [original, 'b']]);
});
