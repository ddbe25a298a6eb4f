/** Redirected traffic end to end: pods with real rules, applications that know nothing, and what crosses between them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestCa } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import type { Packet } from '../support/packets.ts';
import { mayHavePods, type Pod, PodNetwork, requirePods } from '../support/pods.ts';
import { markedRoute, meshOf, peerAuthentication, serviceOf } from './documents.ts';

const CATALOG = { v4: '10.96.0.10', v6: 'fd96::10' };
const STOREFRONT = { v4: '10.96.0.20', v6: 'fd96::20' };
const LEGACY = { v4: '10.96.0.30', v6: 'fd96::30' };
const OPEN = '10.96.0.40';
const START_MS = 120_000;

let network: PodNetwork;
let storefront: Pod;
let catalog: Pod;
/** Without a sidecar. */
let legacy: Pod;

const idOf = (account: string): string => `spiffe://cluster.local/ns/default/sa/${account}`;

beforeEach(requirePods);

beforeAll(async () => {
  if (!(await mayHavePods())) return;
  network = await PodNetwork.create();
  storefront = await network.pod('storefront');
  catalog = await network.pod('catalog');
  legacy = await network.pod('legacy');
  network.write(policy('ALLOW_ANY'));
  const labels = { app: 'catalog' };
  await Promise.all([storefront.redirect(), catalog.redirect()]);
  await Promise.all([storefront.startWeft(), catalog.startWeft({ labels })]);
  const leaf = new TestCa('own').identity('default/own');
  const tls = { key: leaf.privateKey, cert: leaf.certificateChain };
  await Promise.all([
    storefront.do('serve', { kind: 'http', port: 8080 }),
    catalog.do('serve', { kind: 'http', port: 8080 }),
    catalog.do('serve', { kind: 'http', port: 8081 }),
    catalog.do('serve', { kind: 'http', port: 8082 }),
    catalog.do('serve', { kind: 'https', port: 8443, ...tls }),
    catalog.do('serve', { kind: 'echo', port: 9000 }),
    catalog.do('serve', { kind: 'banner', port: 2525 }),
    legacy.do('serve', { kind: 'http', port: 8080 }),
    legacy.do('serve', { kind: 'http', port: 7000 }),
    legacy.do('serve', { kind: 'https', port: 7003, ...tls }),
    legacy.do('serve', { kind: 'echo', port: 7001 }),
    legacy.do('serve', { kind: 'echo', port: 53 }),
    legacy.do('serve', { kind: 'udp', port: 7002 }),
    legacy.do('serve', { kind: 'dns', port: 53 }),
  ]);
}, START_MS);

afterAll(() => network?.[Symbol.asyncDispose]());

function policy(outbound: 'ALLOW_ANY' | 'REGISTRY_ONLY'): string[] {
  const http = { name: 'http', port: 80, targetPort: 8080 };
  return [
    meshOf(outbound),
    ...serviceOf({
      name: 'catalog',
      clusterIPs: [CATALOG.v4, CATALOG.v6],
      ports: [
        http,
        { name: 'https', port: 443, targetPort: 8443 },
        { name: 'tcp-echo', port: 9000, targetPort: 9000 },
        { name: 'tcp-mail', port: 2525, targetPort: 2525 },
      ],
      pods: [catalog],
    }),
    ...serviceOf({
      name: 'members',
      clusterIPs: [],
      ports: [{ name: 'http', port: 8080, targetPort: 8080 }],
      pods: [catalog],
    }),
    ...serviceOf({ name: 'storefront', clusterIPs: [STOREFRONT.v4, STOREFRONT.v6], ports: [http], pods: [storefront] }),
    ...serviceOf({ name: 'legacy', clusterIPs: [LEGACY.v4, LEGACY.v6], ports: [http], pods: [legacy], plain: true }),
    ...serviceOf({
      name: 'open',
      clusterIPs: [OPEN],
      ports: [{ name: 'http', port: 80, targetPort: 8082 }],
      pods: [catalog],
      selector: { app: 'catalog' },
    }),
    markedRoute('catalog', 80),
    peerAuthentication({
      name: 'catalog',
      labels: { app: 'catalog' },
      ports: { 8081: 'PERMISSIVE', 8082: 'DISABLE' },
    }),
  ];
}

describe.each([
  ['IPv4', 'v4', '127.0.0.6'],
  ['IPv6', 'v6', '::6'],
] as const)('over %s', (_name, family, deliveredFrom) => {
  const addressOf = (pod: Pod): string => (family === 'v4' ? pod.ipv4 : pod.ipv6);
  const plain = (address: string): string => address.replace('::ffff:', '');

  test('a call to a Service address goes by its routes, whatever Host says, with both identities verified', async () => {
    const answer = await storefront.do('get', { host: CATALOG[family], port: 80, headers: { host: 'nobody.example' } });
    expect([answer.status, answer.headers['x-route']]).toEqual([200, 'catalog']);
    const seen = await storefront.seen(CATALOG[family], 80);
    expect(seen.pod).toBe('catalog');
    expect(seen.headers['x-forwarded-client-cert']).toContain(`URI=${idOf('storefront')}`);
    expect(seen.headers['x-forwarded-client-cert']).toContain(`By=${idOf('catalog')}`);
  });

  test('a caller of HTTP/1.0 that names nobody reaches the Service whose address it called', async () => {
    const send = 'GET / HTTP/1.0\r\n\r\n';
    const answer = await storefront.do('tcp', { host: CATALOG[family], port: 80, send, open: true });
    expect(answer).toMatch(/^HTTP\/1\.[01] 200 /);
    expect(answer).toContain('"pod":"catalog"');
    expect(answer).toContain('"host":"catalog.default.svc.cluster.local"');
  });

  test('inbound is delivered to the address and port it was sent to, from an address that tells it', async () => {
    const seen = await storefront.seen(addressOf(catalog), 8080);
    expect(plain(seen.remoteAddress)).toBe(deliveredFrom);
    // The Service has endpoints of both families; the address that was called is one of the pod's own.
    expect(plain(seen.localAddress)).toBe(addressOf(catalog));
  });

  test('a call to a pod that is an endpoint uses no routes, but identity, mutual TLS and its Service in the metrics', async () => {
    const before = await storefront.metric('istio_requests_total', 'destination_service_name="members"');
    const answer = await storefront.do('get', { host: addressOf(catalog), port: 8080 });
    expect(answer.headers['x-route']).toBeUndefined();
    expect(answer.text).toContain(`URI=${idOf('storefront')}`);
    await eventually(
      'it is counted',
      async () =>
        (await storefront.metric('istio_requests_total', 'destination_service_name="members"')) === before + 1 ||
        undefined,
    );
  });

  test('the application calls itself by its own address without the sidecar, and through its Service by mutual TLS', async () => {
    const direct = await storefront.seen(addressOf(storefront), 8080);
    expect([direct.pod, plain(direct.remoteAddress)]).toEqual(['storefront', addressOf(storefront)]);
    expect(direct.headers['x-forwarded-client-cert']).toBeUndefined();
    const byService = await storefront.seen(STOREFRONT[family], 80);
    expect([byService.pod, byService.headers['x-forwarded-client-cert']]).toEqual([
      'storefront',
      expect.stringContaining(`URI=${idOf('storefront')}`),
    ]);
  });

  test('a pod without a sidecar is refused where STRICT holds, and served where PERMISSIVE or DISABLE does', async () => {
    await expect(legacy.seen(addressOf(catalog), 8080)).rejects.toThrow(/ECONNRESET|socket hang up/);
    const permitted = await legacy.seen(addressOf(catalog), 8081);
    expect([permitted.pod, permitted.headers['x-forwarded-client-cert']]).toEqual(['catalog', undefined]);
    expect((await legacy.seen(addressOf(catalog), 8082)).pod).toBe('catalog');
  });

  test('a stranger is passed to: HTTP and bytes alike', async () => {
    const seen = await storefront.seen(addressOf(legacy), 7000);
    expect([seen.pod, plain(seen.remoteAddress)]).toEqual(['legacy', addressOf(storefront)]);
    expect(await storefront.do('tcp', { host: addressOf(legacy), port: 7001, send: '\x01\x02bytes' })).toBe(
      '\x01\x02bytes',
    );
  });

  test("a stranger's TLS passes: the application sees its certificate", async () => {
    const { subject, text } = await storefront.do('tls', { host: addressOf(legacy), port: 7003 });
    expect(text).toContain('"pod":"legacy"');
    expect(subject).not.toContain('storefront');
  });

  test('a Service whose pods have no sidecar is called in plain text', async () => {
    const seen = await storefront.seen(LEGACY[family], 80);
    expect([seen.pod, seen.headers['x-forwarded-client-cert']]).toEqual(['legacy', undefined]);
    expect((await storefront.seen(addressOf(legacy), 8080)).pod).toBe('legacy');
  });

  test('kubelet reaches readiness and metrics without TLS', async () => {
    expect((await legacy.do('get', { host: addressOf(catalog), port: 15_021, path: '/healthz/ready' })).status).toBe(
      200,
    );
    expect((await legacy.do('get', { host: addressOf(catalog), port: 15_020, path: '/metrics' })).status).toBe(200);
  });

  test('UDP is untouched', async () => {
    expect(await storefront.do('udp', { host: addressOf(legacy), port: 7002, send: 'hello' })).toBe('legacy got hello');
  });
});

test('a Service whose workload says DISABLE is called in plain text', async () => {
  const seen = await storefront.seen(OPEN, 80);
  expect([seen.pod, seen.headers['x-forwarded-client-cert']]).toEqual(['catalog', undefined]);
});

test('at an address that policy does not know, an authority that names a Service leads to it', async () => {
  const answer = await storefront.do('get', { host: '10.96.0.77', port: 80, headers: { host: 'catalog' } });
  expect([answer.status, answer.headers['x-route']]).toEqual([200, 'catalog']);
});

test('a Service address with a port that the Service does not have is a 404', async () => {
  const answer = await storefront.do('get', { host: CATALOG.v4, port: 81, headers: { host: 'catalog' } });
  expect([answer.status, answer.headers['proxy-status']]).toEqual([404, expect.stringContaining('no_service_port')]);
});

test('TLS of the application reaches its server whole, inside mutual TLS', async () => {
  const { subject, text } = await storefront.do('tls', { host: CATALOG.v4, port: 443 });
  expect(text).toContain('"pod":"catalog"');
  expect(text).toMatch(/"remoteAddress":"(?:::ffff:127\.0\.0\.6|::6)"/);
  expect(subject).not.toContain('catalog');
});

test('bytes of a declared tcp port pass through mutual TLS, even where they look like HTTP', async () => {
  const send = 'GET / HTTP/1.1\r\n\r\n';
  expect(await storefront.do('tcp', { host: CATALOG.v4, port: 9000, send })).toBe(send);
});

test('a server that speaks first is heard, through mutual TLS', async () => {
  expect(await storefront.do('listenFirst', { host: CATALOG.v4, port: 2525 })).toBe('220 catalog 2525\r\n');
});

test("CONNECT on its way to a proxy of the application's choice reaches that proxy", async () => {
  const send = 'CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n';
  expect(await storefront.do('tcp', { host: legacy.ipv4, port: 7001, send })).toBe(send);
});

test('what is sent to the outbound listener itself still goes by its authority', async () => {
  const where = { host: '127.0.0.1', port: 15_001 };
  const answer = await storefront.do('get', { ...where, headers: { host: 'catalog' } });
  expect([answer.status, answer.headers['x-route']]).toEqual([200, 'catalog']);
});

test('names are resolved over UDP and TCP without the sidecar, and what policy forbids is refused', async () => {
  network.write(policy('REGISTRY_ONLY'));
  const applied = (): Promise<true> =>
    storefront.weft?.waitForLine((line) => lineCount(line, 'policy applied', 2), 10_000) ?? Promise.reject(new Error());
  let count = 0;
  const lineCount = (line: string, text: string, wanted: number): true | undefined => {
    if (line.includes(text)) count++;
    return count >= wanted ? true : undefined;
  };
  await applied();
  const where = { host: legacy.ipv4, port: 53 };
  expect(await storefront.do('resolve', { ...where, name: 'catalog.default.svc.cluster.local' })).toEqual([
    '10.96.0.99',
  ]);
  expect(await storefront.do('tcp', { ...where, send: 'query' })).toBe('query');
  const refused = await storefront.do('get', { host: legacy.ipv4, port: 7000 });
  expect([refused.status, refused.headers['proxy-status']]).toEqual([
    502,
    expect.stringContaining('unknown_destination'),
  ]);
  expect(await storefront.do('tcp', { host: legacy.ipv4, port: 7001, send: 'bytes' }).catch(() => '')).toBe('');
});

test("weft's own ports lead nowhere: a loop is refused by its word", async () => {
  for (const port of [15_001, 15_006]) {
    await expect(storefront.seen(catalog.ipv4, port)).rejects.toThrow(/ECONNRESET|socket hang up/);
  }
  await expect(legacy.seen(catalog.ipv4, 15_001)).rejects.toThrow(/ECONNRESET|socket hang up/);
  expect(await storefront.metric('weft_refusals_total', 'word="loop_detected"')).toBe(2);
  expect(await catalog.metric('weft_refusals_total', 'word="loop_detected"')).toBe(1);
});

describe('on the wire between pods', () => {
  let packets: Packet[];
  const secret = 'do-not-read-this-on-the-wire';

  beforeAll(async () => {
    if (network === undefined) return;
    const calls = async (): Promise<void> => {
      for (const host of [CATALOG.v4, CATALOG.v6]) await storefront.seen(host, 80, { 'x-secret': secret });
      for (const host of [catalog.ipv4, catalog.ipv6]) await storefront.seen(host, 8080, { 'x-secret': secret });
      await storefront.do('tcp', { host: CATALOG.v4, port: 9000, send: secret });
      // The last one: when it is there, all are.
      await storefront.seen(LEGACY.v4, 80, { 'x-plain': 'as-agreed' });
    };
    packets = await network.capture(calls, (seen) => allBytes(seen).includes('as-agreed'));
  });

  test('is no clear text where mutual TLS holds', () => {
    expect(allBytes(packets).includes(secret)).toBe(false);
  });

  test('each conversation with a meshed pod is TLS, record by record', () => {
    const toCatalog = (packet: Packet): boolean =>
      MESH_PORTS.includes(packet.destinationPort) && [catalog.ipv4, V6_OF_CATALOG].includes(packet.destination);
    const flows = Map.groupBy(packets.filter(toCatalog), ({ source, sourcePort }) => `${source} ${sourcePort}`);
    expect(flows.size).toBeGreaterThanOrEqual(2);
    for (const flow of flows.values()) {
      for (const type of recordTypes(allBytes(flow))) expect(TLS_TYPES).toContain(type);
    }
  });
});

const MESH_PORTS = [8080, 9000];
/** As packets spell it. */
const V6_OF_CATALOG = 'fd77:0000:0000:0000:0000:0000:0000:0011';
/** Change of cipher spec, alert, handshake, application (RFC 8446 section 5.1). */
const TLS_TYPES = [20, 21, 22, 23];

function allBytes(packets: readonly Packet[]): Buffer {
  return Buffer.concat(packets.map(({ payload }) => payload));
}

/** First byte of every record, as far as they are whole. */
function recordTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) types.push(bytes.readUInt8(at));
  return types;
}
