import { describe, expect, test } from 'vitest';
import { type Destination, type LinkedSnapshot, linking, link as linkSnapshot } from '../../../proxy/config/link.ts';
import { SnapshotAssembly, toParts } from '../../../proxy/config/slices.ts';
import { Fields } from '../../../proxy/http/message.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Clusters, MAX_STRANGERS } from '../../../proxy/upstream/clusters.ts';
import { ManualClock } from '../../../shared/clock.ts';
import type { Failure } from '../../../shared/errors.ts';
import { Random } from '../../../shared/random.ts';
import { route, service, snapshotOf } from '../../support/policy-documents.ts';

function clusters(): Clusters {
  const io = new IoThread(new ManualClock(), new Random(1));
  return new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
}

function link(text: string, all: Clusters = clusters()): LinkedSnapshot {
  return linkSnapshot(snapshotOf(text), all, (host, port) => host === '127.0.0.1' && port === 15001);
}

function wordOf(found: Destination | Failure): string | null {
  return 'word' in found ? found.word : null;
}

function clusterOf(found: Destination | Failure): string {
  return 'word' in found ? found.word : found.cluster.key;
}

const NO_FIELDS = new Fields([], []);
const MESH = (spec: string): string => `apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: mesh}\nspec: ${spec}\n`;

describe('an authority finds', () => {
  const linked = link(
    [
      service('one', '{clusterIP: 10.0.0.1, ports: [{port: 8080}]}'),
      service('web', '{ports: [{port: 80, name: http}, {port: 9090, name: metrics}]}'),
      service('two', '{ports: [{port: 81, name: a}, {port: 82, name: b}]}'),
    ].join('---\n'),
  );

  test.each([
    ['one', 'shop/one:8080'],
    ['one:8080', 'shop/one:8080'],
    ['one.shop', 'shop/one:8080'],
    ['one.shop.svc', 'shop/one:8080'],
    ['one.shop.svc.cluster.local:8080', 'shop/one:8080'],
    ['10.0.0.1', 'shop/one:8080'],
    ['10.0.0.1:8080', 'shop/one:8080'],
    ['web', 'shop/web:80'],
    ['web:9090', 'shop/web:9090'],
    ['two:82', 'shop/two:82'],
    ['one:80', 'no_service_port'],
    ['10.0.0.1:1', 'no_service_port'],
    ['two', 'no_service_port'],
    ['', 'bad_host'],
    ['127.0.0.1:15001', 'loop_detected'],
    ['elsewhere.example:81', 'stranger/elsewhere.example:81'],
    ['one.shop.example', 'stranger/one.shop.example'],
  ])('%s: %s', (authority, cluster) => {
    expect(clusterOf(linked.find(authority))).toBe(cluster);
  });
});

test('under REGISTRY_ONLY what policy does not name is refused', () => {
  const linked = link(`${service('web')}---\n${MESH('{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}')}`);
  expect(wordOf(linked.find('elsewhere.example'))).toBe('unknown_destination');
  expect(wordOf(linked.find('web'))).toBeNull();
});

test('a Service with a route answers 404 to what no rule matches, one without takes everything', () => {
  const rules =
    '{parentRefs: [{group: "", kind: Service, name: a}], rules: [{matches: [{path: {value: /x}}], backendRefs: [{name: b, port: 80}]}]}';
  const linked = link([service('a'), service('b'), route('r', rules)].join('---\n'));
  const [a, b] = [linked.find('a'), linked.find('b')];
  if ('word' in a || 'word' in b) throw new Error('not found');
  expect([a.routes === null, a.otherwise.found]).toEqual([false, false]);
  expect([b.routes, b.otherwise.found]).toEqual([null, true]);
  expect(a.otherwise.backends[0]?.cluster).toBe(a.cluster);
});

test('a cluster is the same one in the next snapshot, and only what is gone is new when it comes back', () => {
  const all = clusters();
  const first = link(service('a'), all);
  const second = link(`${service('a')}---\n${service('b')}`, all);
  expect(clusterOf(first.find('a'))).toBe('shop/a:80');
  const [before, after] = [first.find('a'), second.find('a')];
  if ('word' in before || 'word' in after) throw new Error('not found');
  expect(after.cluster).toBe(before.cluster);
  all.update([]);
  const third = link(service('a'), all).find('a');
  if ('word' in third) throw new Error('not found');
  expect(third.cluster).not.toBe(before.cluster);
});

describe('a snapshot that is linked after another', () => {
  const rules = (paths: readonly string[]): string =>
    `{parentRefs: [{group: "", kind: Service, name: a}], rules: [${paths.map((path) => `{matches: [{path: {value: ${path}}}], backendRefs: [{name: b, port: 80}]}`).join(', ')}]}`;
  const policy = (...paths: string[]): string => [service('a'), service('b'), route('r', rules(paths))].join('---\n');

  /** Linked as a data thread does it; answers the steps too. */
  function linkAfter(
    before: LinkedSnapshot | null,
    text: string,
    all: Clusters,
    assembly: SnapshotAssembly,
  ): { readonly linked: LinkedSnapshot; readonly steps: number } {
    const assembling = assembly.assemble(toParts(snapshotOf(text)));
    let part = assembling.next();
    while (part.done !== true) part = assembling.next();
    const steps = linking(part.value, all, () => false, before);
    for (let count = 1; ; count++) {
      const step = steps.next();
      if (step.done !== true) continue;
      all.update(part.value.clusters);
      return { linked: step.value, steps: count };
    }
  }

  test('takes over what has not changed, and links only the rest', () => {
    const [all, assembly] = [clusters(), new SnapshotAssembly()];
    const { linked: first } = linkAfter(null, policy('/x'), all, assembly);
    const { linked: second } = linkAfter(first, policy('/x', '/y'), all, assembly);
    expect(second.find('b')).toBe(first.find('b'));
    expect(second.find('a')).not.toBe(first.find('a'));
    const { linked: third } = linkAfter(second, policy('/x', '/y'), all, assembly);
    expect([third.find('a'), third.find('b')]).toEqual([second.find('a'), second.find('b')]);
    expect(third.find('a')).toBe(second.find('a'));
  });

  test('links a cluster that has been away anew', () => {
    const [all, assembly] = [clusters(), new SnapshotAssembly()];
    const { linked: first } = linkAfter(null, policy('/x'), all, assembly);
    const { linked: without } = linkAfter(first, service('b'), all, assembly);
    const { linked: back } = linkAfter(without, policy('/x'), all, assembly);
    const [before, after] = [first.find('a'), back.find('a')];
    if ('word' in before || 'word' in after) throw new Error('not found');
    expect(after.cluster).not.toBe(before.cluster);
    expect(after.routes?.lookup('GET', '/x', NO_FIELDS)?.backends[0]?.cluster).toBe(clusterIn(back, 'b'));
  });

  test('comes in steps: one per rule and match, not one for all', () => {
    const paths = Array.from({ length: 12 }, (_, i) => `/p${i}`);
    const { steps } = linkAfter(null, policy(...paths), clusters(), new SnapshotAssembly());
    expect(steps).toBeGreaterThan(2 * paths.length);
  });
});

function clusterIn(linked: LinkedSnapshot, authority: string): object {
  const found = linked.find(authority);
  if ('word' in found) throw new Error(found.word);
  return found.cluster;
}

test('strangers are remembered by use, and only so many of them', () => {
  const all = clusters();
  const linked = link('', all);
  const clusterAt = (host: string): object => {
    const found = linked.find(host);
    if ('word' in found) throw new Error(found.word);
    return found.cluster;
  };
  const kept = clusterAt('kept.example');
  const oldest = clusterAt('oldest.example');
  for (let i = 0; i < MAX_STRANGERS - 2; i++) clusterAt(`host-${i}.example`);
  expect(clusterAt('kept.example')).toBe(kept);
  clusterAt('one-more.example');
  expect(clusterAt('kept.example')).toBe(kept);
  expect(clusterAt('oldest.example')).not.toBe(oldest);
  expect([...all]).toHaveLength(MAX_STRANGERS);
});

test('forwarding fields are believed from the blocks that Mesh names', () => {
  const linked = link(MESH('{trustedForwarders: [10.0.0.0/8, "2001:db8::/32"]}'));
  const asked = ['10.1.2.3', '11.0.0.1', '2001:db8::1', '2001:db9::1', 'nonsense'];
  expect(asked.map((address) => linked.trustsForwarder(address))).toEqual([true, false, true, false, false]);
});

test('the protocol that policy declares for the own port is found by its endpoint', () => {
  const linked = link(service('a'));
  expect(linked.protocolServedAt(() => false)).toBe('auto');
  expect(linked.protocolServedAt(() => true)).toBe('http');
});
