import { describe, expect, test } from 'vitest';
import { type Destination, type LinkedSnapshot, link as linkSnapshot } from '../../../proxy/config/link.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { Clusters } from '../../../proxy/upstream/clusters.ts';
import { ManualClock } from '../../../shared/clock.ts';
import type { Failure } from '../../../shared/errors.ts';
import { Random } from '../../../shared/random.ts';
import { document, route, service, slice, snapshotOf } from '../../support/policy-documents.ts';

function clusters(): Clusters {
  const io = new IoThread(new ManualClock(), new Random(1));
  return new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
}

function link(text: string, all: Clusters = clusters()): LinkedSnapshot {
  return linkSnapshot(snapshotOf(text), all, (host, port) => host === '10.0.0.7' && port === 15_006);
}

function clusterOf(found: Destination | Failure): string {
  return 'word' in found ? found.word : found.cluster.key;
}

const endpoints = (of: string, list: string, metadata = ''): string =>
  slice(of, `addressType: IPv4\nports: [{name: http, port: 8080}]\nendpoints: [${list}]\n`, metadata);
const MESH = (mode: string): string => document('Mesh', 'mesh', `{outboundTrafficPolicy: {mode: ${mode}}}`);

const ROUTE = route(
  'web',
  '{parentRefs: [{group: "", kind: Service, name: web}], rules: [{backendRefs: [{name: bare, port: 80}]}]}',
);

const SHOP = [
  service('web', '{clusterIPs: [10.96.0.1, "fd96::1"], ports: [{port: 80, name: http}]}'),
  endpoints('web', '{addresses: [10.0.0.11]}, {addresses: [10.0.0.12], conditions: {ready: false}}'),
  service('web-members', '{clusterIP: None, ports: [{port: 8080, name: http}]}'),
  endpoints('web-members', '{addresses: [10.0.0.12]}'),
  service('bare', '{ports: [{port: 80, name: http}]}'),
  service('addressed', '{clusterIP: 10.96.0.2, ports: [{port: 80, name: tcp}]}'),
];

const at = (host: string, port: number): { host: string; port: number } => ({ host, port });

describe('a redirected connection', () => {
  const linked = link(SHOP.join(''));

  test.each([
    ['to a Service address', at('10.96.0.1', 80), '', 'shop/web:80'],
    ['to a Service address, whatever Host says', at('10.96.0.1', 80), 'bare', 'shop/web:80'],
    ['to a Service address of IPv6', at('fd96::1', 80), 'nobody', 'shop/web:80'],
    ['to a Service address without slices', at('10.96.0.2', 80), '', 'shop/addressed:80'],
    ['to a Service address with another port', at('10.96.0.1', 81), 'web', 'no_service_port'],
    ['to an endpoint', at('10.0.0.11', 8080), 'web', 'shop/web:80/10.0.0.11:8080'],
    [
      'to an endpoint of two Services: the headless one',
      at('10.0.0.12', 8080),
      '',
      'shop/web-members:8080/10.0.0.12:8080',
    ],
    ['to a pod by a port of no Service', at('10.0.0.11', 9), '', 'stranger/10.0.0.11:9'],
    ['to a stranger, naming a Service', at('10.1.1.1', 80), 'bare', 'shop/bare:80'],
    ['to a stranger, naming a Service with another port', at('10.1.1.1', 80), 'bare:81', 'no_service_port'],
    ['to a stranger, naming a stranger', at('10.1.1.1', 443), 'example.com', 'stranger/10.1.1.1:443'],
    ['to a stranger of IPv6, naming nobody', at('fd00::9', 443), '', 'stranger/[fd00::9]:443'],
    ['to the own inbound listener', at('10.0.0.7', 15_006), '', 'loop_detected'],
  ])('%s', (_name, original, authority, cluster) => {
    expect(clusterOf(linked.findRedirected(original, authority))).toBe(cluster);
  });

  test('finds the same destination again, without making anything', () => {
    for (const original of [at('10.96.0.1', 80), at('10.0.0.11', 8080), at('10.1.1.1', 80)]) {
      expect(linked.findRedirected(original, '')).toBe(linked.findRedirected(original, ''));
    }
  });

  test('is told the protocol of an endpoint, and nothing of other addresses', () => {
    expect(linked.protocolAt(at('10.0.0.11', 8080))).toBe('http');
    expect(linked.protocolAt(at('10.0.0.11', 9))).toBe('auto');
    expect(linked.protocolAt(at('10.96.0.1', 80))).toBe('auto');
  });
});

test('only REGISTRY_ONLY keeps strangers out, and what policy knows stays', () => {
  const linked = link([MESH('REGISTRY_ONLY'), ...SHOP].join(''));
  expect(clusterOf(linked.findRedirected(at('10.1.1.1', 80), ''))).toBe('unknown_destination');
  expect(clusterOf(linked.findRedirected(at('10.1.1.1', 80), 'example.com'))).toBe('unknown_destination');
  expect(clusterOf(linked.findRedirected(at('10.1.1.1', 80), 'bare'))).toBe('shop/bare:80');
  expect(clusterOf(linked.findRedirected(at('10.0.0.11', 8080), ''))).toBe('shop/web:80/10.0.0.11:8080');
});

test('a Service address has the routes of its Service, an endpoint has none but its identity and settings', () => {
  const linked = link([...SHOP, ROUTE].join(''));
  const byService = linked.findRedirected(at('10.96.0.1', 80), '') as Destination;
  const byPod = linked.findRedirected(at('10.0.0.11', 8080), '') as Destination;
  expect(byService.routes).not.toBeNull();
  expect(byPod.routes).toBeNull();
  expect(byPod.service).toEqual(byService.service);
  expect([...byPod.cluster.endpoints.keys()]).toEqual(['10.0.0.11:8080']);
  expect([byPod.cluster.spec.namespace, byPod.cluster.spec.service]).toEqual(['shop', 'web']);
  expect(byPod.cluster.endpoints.get('10.0.0.11:8080')?.meshTls).toBe(true);
});

test('an endpoint that is not ready is called by who names it', () => {
  const linked = link(SHOP.slice(0, 2).join(''));
  const { cluster } = linked.findRedirected(at('10.0.0.12', 8080), '') as Destination;
  expect(cluster.pick(null)?.key).toBe('10.0.0.12:8080');
});

test('a new snapshot changes what holds for an endpoint, and keeps its connections', () => {
  const all = clusters();
  const before = link(SHOP.slice(0, 2).join(''), all).findRedirected(at('10.0.0.11', 8080), '') as Destination;
  const plain = endpoints('web', '{addresses: [10.0.0.11]}', ', annotations: {weft.dev/mtls: disabled}');
  const after = link([SHOP[0], plain].join(''), all).findRedirected(at('10.0.0.11', 8080), '') as Destination;
  expect(after.cluster).toBe(before.cluster);
  expect(after.cluster.endpoints.get('10.0.0.11:8080')?.meshTls).toBe(false);
});
