import { describe, expect, it } from 'vitest';
import type { Snapshot } from '../../../proxy/config/snapshot.ts';
import { cluster, port, service, slice, snapshotOf } from '../../support/policy-documents.ts';

describe('names of a Service', () => {
  it('include the short one only in its own namespace', () => {
    const text = service('a') + service('b', undefined, ', namespace: other');
    expect(snapshotOf(text).services.map(({ hosts }) => hosts)).toEqual([
      ['b.other', 'b.other.svc', 'b.other.svc.cluster.local'],
      ['a', 'a.shop', 'a.shop.svc', 'a.shop.svc.cluster.local'],
    ]);
  });

  it('end in the cluster domain of the Mesh', () => {
    const mesh = '---\napiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: m}\nspec: {clusterDomain: corp.example}\n';
    expect(snapshotOf(service('a') + mesh).services[0]?.hosts).toContain('a.shop.svc.corp.example');
  });
});

describe('the protocol of a port', () => {
  it.each([
    ['{port: 80}', 'auto'],
    ['{port: 80, name: web}', 'auto'],
    ['{port: 80, name: http}', 'http'],
    ['{port: 80, name: http2-x}', 'http2'],
    ['{port: 80, name: grpc-web}', 'grpc'],
    ['{port: 80, name: https}', 'https'],
    ['{port: 80, name: tls-x}', 'tls'],
    ['{port: 80, name: mysql}', 'tcp'],
    ['{port: 80, name: httpx}', 'auto'],
    ['{port: 80, name: tcp, appProtocol: http}', 'http'],
    ['{port: 80, appProtocol: kubernetes.io/h2c}', 'http2'],
    ['{port: 80, appProtocol: kubernetes.io/ws}', 'http'],
    ['{port: 80, appProtocol: kubernetes.io/wss}', 'https'],
  ])('%s is %s', (spec, protocol) => {
    expect(port(snapshotOf(service('a', `{ports: [${spec}]}`)), 'a').protocol).toBe(protocol);
  });

  it('that is UDP leaves the port out', () => {
    const text = service('a', '{ports: [{port: 53, name: dns, protocol: UDP}, {port: 80, name: http}]}');
    expect(snapshotOf(text).services[0]?.ports.map((each) => each.port)).toEqual([80]);
  });
});

describe('endpoints', () => {
  const addresses = (snapshot: Snapshot, key = 'shop/a:80'): string[] =>
    cluster(snapshot, key).endpoints.map((each) => `${each.address}:${each.port}${each.ready ? '' : ' unready'}`);

  /** 10.1.0.1 with the first, 10.1.0.2 with the second. */
  const withConditions = (...conditions: string[]): string[] => {
    const endpoints = conditions.map((each, i) => `{addresses: [10.1.0.${i + 1}], conditions: ${each}}`).join(', ');
    const rest = `addressType: IPv4\nendpoints: [${endpoints}]\nports: [{name: http, port: 8080}]\n`;
    return addresses(snapshotOf(service('a') + slice('a', rest)));
  };

  it('without slices are the cluster address on the Service port', () => {
    const text = service(
      'a',
      '{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "fd00::1"], ports: [{port: 80, targetPort: 8080}]}',
    );
    expect(addresses(snapshotOf(text))).toEqual(['10.0.0.1:80']);
    expect(snapshotOf(text).services[0]?.addresses).toEqual(['10.0.0.1', 'fd00::1']);
  });

  it('without slices and address are the DNS name, of a headless Service on the target port', () => {
    const headless = '{clusterIP: None, ports: [{port: 80, targetPort: 8080}]}';
    expect(addresses(snapshotOf(service('a', '{ports: [{port: 80, targetPort: 8080}]}')))).toEqual([
      'a.shop.svc.cluster.local:80',
    ]);
    expect(addresses(snapshotOf(service('a', headless)))).toEqual(['a.shop.svc.cluster.local:8080']);
  });

  it('of an ExternalName Service are its name, without mutual TLS', () => {
    const snapshot = snapshotOf(service('a', '{type: ExternalName, externalName: x.example, ports: [{port: 443}]}'));
    expect(addresses(snapshot, 'shop/a:443')).toEqual(['x.example:443']);
    expect(cluster(snapshot, 'shop/a:443').meshTls).toBe(false);
  });

  it('with slices are those of the port with the same name, with their zone', () => {
    const ports = '{clusterIP: 10.0.0.1, ports: [{port: 80, name: http}, {port: 90, name: metrics}]}';
    const rest =
      'addressType: IPv4\nendpoints: [{addresses: [10.1.0.1], zone: z1}]\nports: [{name: metrics, port: 9090}, {name: http, port: 8080}]\n';
    const snapshot = snapshotOf(service('a', ports) + slice('a', rest));
    expect(addresses(snapshot)).toEqual(['10.1.0.1:8080']);
    expect(addresses(snapshot, 'shop/a:90')).toEqual(['10.1.0.1:9090']);
    expect(cluster(snapshot, 'shop/a:80').endpoints[0]?.zone).toBe('z1');
  });

  it('are ready unless a condition says otherwise', () => {
    const rest = `addressType: IPv4
endpoints:
- {addresses: [10.1.0.1]}
- {addresses: [10.1.0.2], conditions: {ready: false}}
- {addresses: [10.1.0.3], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.1.0.4], conditions: {ready: null}}
- {addresses: [10.1.0.5], conditions: {terminating: true}}
ports: [{name: http, port: 8080}]
`;
    expect(addresses(snapshotOf(service('a') + slice('a', rest)))).toEqual([
      '10.1.0.1:8080',
      '10.1.0.2:8080 unready',
      '10.1.0.3:8080 unready',
      '10.1.0.4:8080',
      '10.1.0.5:8080 unready',
    ]);
  });

  it('are ready though they terminate where publishNotReadyAddresses has said so', () => {
    expect(withConditions('{ready: true, serving: false, terminating: true}', '{}')).toEqual([
      '10.1.0.1:8080',
      '10.1.0.2:8080',
    ]);
  });

  it('that terminate and still serve are called while no other one is ready', () => {
    const leaving = '{ready: false, serving: true, terminating: true}';
    expect(withConditions(leaving, '{ready: false}')).toEqual(['10.1.0.1:8080', '10.1.0.2:8080 unready']);
    expect(withConditions('{ready: false, terminating: true}', leaving)).toEqual([
      '10.1.0.1:8080 unready',
      '10.1.0.2:8080',
    ]);
    expect(withConditions('{terminating: true}', '{ready: false, serving: true}')).toEqual([
      '10.1.0.1:8080',
      '10.1.0.2:8080 unready',
    ]);
  });

  it('are none where the slices are empty: a cluster address does not come back', () => {
    const text =
      service('a', '{clusterIP: 10.0.0.1, ports: [{port: 80, name: http}]}') + slice('a', 'addressType: IPv4\n');
    expect(addresses(snapshotOf(text))).toEqual([]);
  });

  it('that stand in two slices count once, ready if one says so', () => {
    const one = (ready: boolean): string =>
      `addressType: IPv4\nendpoints: [{addresses: [10.1.0.1], conditions: {ready: ${ready}}}]\nports: [{name: http, port: 8080}]\n`;
    const second = slice('a', one(true)).replace('name: a-1', 'name: a-2');
    expect(addresses(snapshotOf(service('a') + slice('a', one(false)) + second))).toEqual(['10.1.0.1:8080']);
  });
});

describe('mutual TLS towards a Service', () => {
  const slices = 'addressType: IPv4\nendpoints: [{addresses: [10.1.0.1]}]\nports: [{name: http, port: 8080}]\n';
  const policy = (kind: string, spec: string): string => `---\n${kind}\nmetadata: {name: p}\nspec: ${spec}\n`;
  const PEER = 'apiVersion: security.istio.io/v1\nkind: PeerAuthentication';
  const TRAFFIC = 'apiVersion: weft.dev/v1\nkind: TrafficPolicy';
  const meshTls = (text: string): boolean | undefined => cluster(snapshotOf(text), 'shop/a:80').endpoints[0]?.meshTls;

  it.each([
    ['nobody says otherwise', service('a') + slice('a', slices), true],
    [
      'the Service is annotated',
      service('a', undefined, ', annotations: {weft.dev/mtls: disabled}') + slice('a', slices),
      false,
    ],
    ['the slice is annotated', service('a') + slice('a', slices, ', annotations: {weft.dev/mtls: disabled}'), false],
    [
      'a TrafficPolicy says Disable',
      service('a') +
        slice('a', slices) +
        policy(TRAFFIC, '{targetRefs: [{kind: Service, name: a}], tls: {mode: Disable}}'),
      false,
    ],
    [
      'a TrafficPolicy says Mesh',
      service('a') +
        slice('a', slices) +
        policy(TRAFFIC, '{targetRefs: [{kind: Service, name: a}], tls: {mode: Mesh}}'),
      true,
    ],
    ['its namespace says DISABLE', service('a') + slice('a', slices) + policy(PEER, '{mtls: {mode: DISABLE}}'), false],
    [
      'its namespace says PERMISSIVE',
      service('a') + slice('a', slices) + policy(PEER, '{mtls: {mode: PERMISSIVE}}'),
      true,
    ],
    [
      'a policy for all its pods disables the port',
      service('a', '{selector: {app: a, x: y}, ports: [{port: 80, name: http}]}') +
        slice('a', slices) +
        policy(PEER, '{selector: {matchLabels: {app: a}}, portLevelMtls: {8080: {mode: DISABLE}}}'),
      false,
    ],
    [
      'a policy for only some of its pods disables it',
      service('a', '{selector: {app: a}, ports: [{port: 80, name: http}]}') +
        slice('a', slices) +
        policy(PEER, '{selector: {matchLabels: {app: a, version: v2}}, mtls: {mode: DISABLE}}'),
      true,
    ],
  ])('if %s', (_, text, expected) => {
    expect(meshTls(text)).toBe(expected);
  });

  it('expects the identities that the annotation lists', () => {
    const text = service(
      'a',
      undefined,
      ', annotations: {weft.dev/identities: "spiffe://d/ns/x/sa/y, spiffe://d/ns/x/sa/z"}',
    );
    expect(cluster(snapshotOf(text), 'shop/a:80').identities).toEqual(['spiffe://d/ns/x/sa/y', 'spiffe://d/ns/x/sa/z']);
  });
});
