import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SnapshotAssembly, toSlices } from '../../../proxy/config/slices.ts';
import type { Snapshot } from '../../../proxy/config/snapshot.ts';
import { route, service, snapshotOf } from '../../support/policy-documents.ts';

function assembled(slices: readonly string[]): Snapshot {
  const assembly = new SnapshotAssembly();
  for (const text of slices) assembly.add(text);
  return assembly.finish();
}

/** A snapshot with this many Services, and a route on each of this many rules. */
function big(services: number, rules: number): Snapshot {
  const documents = Array.from({ length: services }, (_, i) => {
    const rule = (j: number): string =>
      `{matches: [{path: {type: Exact, value: /${j}}}], backendRefs: [{name: s${i}, port: 80}]}`;
    const list = Array.from({ length: rules }, (_unused, j) => rule(j)).join(', ');
    return [
      service(`s${i}`),
      route(`r${i}`, `{parentRefs: [{group: "", kind: Service, name: s${i}}], rules: [${list}]}`),
    ];
  });
  return snapshotOf(documents.flat().join('---\n'));
}

test('a snapshot comes out of its slices as it went in', () => {
  const snapshot = big(3, 7);
  expect(assembled(toSlices(snapshot))).toEqual(JSON.parse(JSON.stringify(snapshot)));
});

test('an empty one does too', () => {
  const snapshot = snapshotOf('');
  expect(assembled(toSlices(snapshot))).toEqual(JSON.parse(JSON.stringify(snapshot)));
});

test('no slice holds more than fifty items, however many there are', () => {
  const snapshot = big(2, 16);
  const many = { ...snapshot, services: snapshot.services.map((one) => ({ ...one, ports: one.ports.map(widen) })) };
  for (const text of toSlices(many)) {
    const { rules = [], entries = [] } = JSON.parse(text) as { rules?: unknown[]; entries?: unknown[] };
    expect(Math.max(rules.length, entries.length)).toBeLessThanOrEqual(50);
  }
  expect(assembled(toSlices(many))).toEqual(JSON.parse(JSON.stringify(many)));
});

/** The same rules over and over, so that they fill several slices. */
function widen(port: Snapshot['services'][number]['ports'][number]): typeof port {
  return { ...port, rules: Array.from({ length: 9 }, () => port.rules).flat() };
}

test('without its first slice nothing comes of it', () => {
  const [, ...rest] = toSlices(big(1, 1));
  expect(() => assembled(rest)).toThrow('without its first slice');
});

test('any sizes come back in their order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 12 }), (services, rules) => {
      const snapshot = big(services, rules);
      expect(assembled(toSlices(snapshot))).toEqual(JSON.parse(JSON.stringify(snapshot)));
    }),
    { numRuns: 15, seed: 11 },
  );
});
