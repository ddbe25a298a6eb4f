import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SnapshotAssembly, toParts } from '../../../proxy/config/slices.ts';
import type { Snapshot, SnapshotPart } from '../../../proxy/config/snapshot.ts';
import { route, service, snapshotOf } from '../../support/policy-documents.ts';

/** Puts it together in one go, and counts the steps. */
function assembled(parts: readonly SnapshotPart[], assembly = new SnapshotAssembly()): [Snapshot, steps: number] {
  const steps = assembly.assemble(parts);
  for (let count = 0; ; count++) {
    const step = steps.next();
    if (step.done === true) return [step.value, count];
  }
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

/** What a data thread gets to know of it: all but the lines of the files. */
function asJson(snapshot: Snapshot): unknown {
  return JSON.parse(JSON.stringify(snapshot), (key, value: unknown) => (key === 'line' ? 0 : value));
}

test('a snapshot comes out of its parts as it went in', () => {
  const snapshot = big(3, 7);
  expect(assembled(toParts(snapshot))[0]).toEqual(asJson(snapshot));
});

test('an empty one does too', () => {
  const snapshot = snapshotOf('');
  expect(assembled(toParts(snapshot))[0]).toEqual(asJson(snapshot));
});

test('a small Service is one slice, and no slice holds more than fifty items, however many there are', () => {
  const snapshot = big(2, 16);
  expect(toParts(snapshot).map(({ slices }) => slices.length)).toEqual([1, 1, 1]);
  const endpoints = Array.from({ length: 320 }, () => snapshot.clusters[0]?.endpoints ?? []).flat();
  const many = {
    ...snapshot,
    services: snapshot.services.map((one) => ({ ...one, ports: one.ports.map(widen) })),
    clusters: snapshot.clusters.map((cluster) => ({ ...cluster, endpoints })),
  };
  const parts = toParts(many);
  for (const text of parts.flatMap(({ slices }) => slices)) {
    const pieces = JSON.parse(text) as { rules?: unknown[]; entries?: unknown[]; endpoints?: unknown[] }[];
    const items = pieces.flatMap((piece) => [
      ...(piece.rules ?? []),
      ...(piece.entries ?? []),
      ...(piece.endpoints ?? []),
    ]);
    expect(items.length).toBeLessThanOrEqual(50);
  }
  const [whole, steps] = assembled(parts);
  expect(whole).toEqual(asJson(many));
  expect(steps).toBe(parts.slice(1).reduce((sum, { slices }) => sum + slices.length, 0));
});

/** The same rules over and over, so that they fill several slices. */
function widen(port: Snapshot['services'][number]['ports'][number]): typeof port {
  return { ...port, rules: Array.from({ length: 9 }, () => port.rules).flat() };
}

test('a part that comes again is the same objects again, wherever it stands; one that changed is not', () => {
  const assembly = new SnapshotAssembly();
  const [first] = assembled(toParts(big(3, 2)), assembly);
  const [second, steps] = assembled(
    toParts(snapshotOf(['a', 'b'].map((name) => service(name)).join('---\n'))),
    assembly,
  );
  expect([second.services.length, steps]).toEqual([2, 2]);
  const before = snapshotOf([service('a'), service('b')].join('---\n'));
  const after = snapshotOf([service('a', '{ports: [{port: 81}]}'), service('aa'), service('b')].join('---\n'));
  const [one] = assembled(toParts(before), assembly);
  const [two] = assembled(toParts(after), assembly);
  expect(two).toEqual(asJson(after));
  expect(two.services.map(({ name }) => one.services.some((other) => other.name === name))).toEqual([
    true,
    false,
    true,
  ]);
  expect(two.services[0]).not.toBe(one.services[0]);
  expect(two.services[2]).toBe(one.services[1]);
  expect(two.clusters[2]).toBe(one.clusters[1]);
  expect(first.services).toHaveLength(3);
});

test('without its first part nothing comes of it', () => {
  const [, ...rest] = toParts(big(1, 1));
  expect(() => assembled(rest)).toThrow('without its first part');
  expect(() => assembled([])).toThrow('without its first part');
});

test('any sizes come back in their order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 12 }), (services, rules) => {
      const snapshot = big(services, rules);
      expect(assembled(toParts(snapshot))[0]).toEqual(asJson(snapshot));
    }),
    { numRuns: 15, seed: 11 },
  );
});
