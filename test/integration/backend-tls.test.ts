/** BackendTLSPolicy: ordinary TLS to endpoints that have certificates of their own, instead of the mesh's. */
import { once } from 'node:events';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { connect as connectTls, createServer as createTls, type Server, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Credentials, OpenSslCa } from '../support/openssl-ca.ts';
import { document, trafficPolicy } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, header, meshed, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const servers: Server[] = [];
let caller: Weft;
let ours: OpenSslCa;
let theirs: OpenSslCa;
let documents: string[] = [];
/** What a server has seen of a handshake. */
interface Seen {
  readonly serverName: string;
  readonly alpn: string;
}
const seen: Seen[] = [];
/** The same of the server whose health is checked. */
const checks: Seen[] = [];
/** Whether each handshake with the echo server `bytes` was a resumed one. */
const resumptions: boolean[] = [];

const HOST = 'api.example.com';
const URI = 'spiffe://elsewhere.example/api';

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** HTTP/1.1 and HTTP/2 by ALPN; answers what it speaks and whose certificate the caller showed. */
function httpServer({ certificate, key }: Credentials, allowHTTP1 = true, log = seen): Http2SecureServer {
  const options = {
    cert: certificate,
    key,
    allowHTTP1,
    requestCert: true,
    rejectUnauthorized: false,
    ca: ours.certificate,
  };
  const server = createSecureServer(options, (request, response) => {
    const socket = request.socket as TLSSocket;
    response.setHeader('x-speaks', request.httpVersion);
    response.setHeader('x-caller', socket.authorized ? (socket.getPeerX509Certificate()?.subject ?? '') : 'nobody');
    response.end('hello');
  });
  server.on('secureConnection', (socket: TLSSocket & { readonly servername?: string }) => {
    log.push({ serverName: socket.servername ?? '', alpn: String(socket.alpnProtocol) });
  });
  return server;
}

/** Every connection gets its bytes back. */
function echoServer({ certificate, key }: Credentials): Server {
  return createTls({ cert: certificate, key }, (socket) => {
    resumptions.push(socket.isSessionReused());
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
}

function tlsPolicy(name: string, validation: object): string {
  return document({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'BackendTLSPolicy',
    metadata: { name },
    spec: { targetRefs: [{ group: '', kind: 'Service', name }], validation },
  });
}

/** A Service whose one endpoint is called in TLS by this policy. */
function overTls(name: string, port: number, validation: object = {}, appProtocol?: string): string[] {
  const trusted = { caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'ours' }], hostname: HOST };
  const protocol = appProtocol === undefined ? {} : { appProtocol };
  return [...meshed({ name, endpoints: [port], ...protocol }), tlsPolicy(name, { ...trusted, ...validation })];
}

function healthCheck(name: string): string {
  const active = {
    type: 'HTTP',
    interval: '100ms',
    timeout: '10s',
    unhealthyThreshold: 1,
    healthyThreshold: 1,
    http: { path: '/' },
  };
  return trafficPolicy(name, { healthCheck: { active } });
}

beforeAll(async () => {
  ours = new OpenSslCa(mesh.folder, 'ours');
  theirs = new OpenSslCa(mesh.folder, 'theirs');
  const right = ours.issue([`DNS:${HOST}`]);
  const port = await listen(httpServer(right));
  const named = async (names: readonly string[]): Promise<number> => listen(httpServer(ours.issue(names)));
  const own = ours.issue(['DNS:caller.example']);
  const expired = await listen(httpServer(ours.issue([`DNS:${HOST}`], -1)));
  const foreign = await listen(httpServer(theirs.issue([`DNS:${HOST}`])));
  const sans = [
    { type: 'Hostname', hostname: 'other.example.com' },
    { type: 'URI', uri: URI },
  ];
  documents = [
    document({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ours' }, data: { 'ca.crt': ours.certificate } }),
    ...overTls('right', port),
    ...overTls('checked', await listen(httpServer(right, true, checks))),
    healthCheck('checked'),
    ...overTls('checked-foreign', foreign),
    healthCheck('checked-foreign'),
    ...overTls('declared-http', port, {}, 'http'),
    ...overTls('declared-h2', port, {}, 'kubernetes.io/h2c'),
    ...overTls('only-h2', await listen(httpServer(right, false)), {}, 'grpc'),
    ...overTls('wildcard', await named(['DNS:*.example.com'])),
    ...overTls('expired', expired),
    ...overTls('foreign', foreign),
    ...overTls('wrong', await named(['DNS:api.example.org'])),
    ...overTls('nameless', await named([])),
    ...overTls('tricky', await named(['URI:x://a/%2C DNS:api.example.com', 'DNS:evil.example'])),
    ...overTls('by-uri', await named([`URI:${URI}`]), { subjectAltNames: sans }),
    ...overTls('by-san', await named(['DNS:other.example.com']), { subjectAltNames: sans }),
    ...overTls('not-by-san', port, { subjectAltNames: sans }),
    ...overTls('any-of-domain', port, { subjectAltNames: [{ type: 'Hostname', hostname: '*.example.com' }] }),
    ...overTls('system', foreign, { caCertificateRefs: [], wellKnownCACertificates: 'System' }),
    ...overTls('not-system', port, { caCertificateRefs: [], wellKnownCACertificates: 'System' }),
    ...overTls('with-certificate', port),
    trafficPolicy('with-certificate', { tls: { clientCertificate: own.certificateFile, privateKey: own.keyFile } }),
    ...overTls('without-file', port),
    trafficPolicy('without-file', { tls: { clientCertificate: '/nowhere/tls.crt', privateKey: '/nowhere/tls.key' } }),
    ...overTls('bytes', await listen(echoServer(right)), {}, 'tcp'),
    ...overTls('passed', await listen(echoServer(theirs.issue(['DNS:own.example']))), {}, 'tcp'),
  ];
  const env = { SSL_CERT_FILE: mesh.folder.write('system.pem', theirs.certificate) };
  caller = await mesh.start({ account: 'caller', env, documents });
}, 60_000);

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  for (const server of servers) server.close();
});

/** Sends a line through a tunnel and gets it back. */
async function echoed(host: string): Promise<void> {
  using client = await openClient(caller.ports.outbound);
  const answer = await client.exchange(`CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\n\r\n`, 'CONNECT');
  expect(answer.status).toBe(200);
  await client.write('EHLO nobody\r\n');
  await client.until(() => client.text.endsWith('EHLO nobody\r\n') || undefined);
}

describe('a Service with a BackendTLSPolicy', () => {
  test('is called in TLS with the host name of the policy, in HTTP/1.1 as the caller speaks', async () => {
    const before = seen.length;
    const answer = await ask(caller.ports.outbound, get('right'));
    expect([answer.status, answer.body.toString(), header(answer, 'x-speaks')]).toEqual([200, 'hello', '1.1']);
    expect(seen.slice(before)).toEqual([{ serverName: HOST, alpn: 'http/1.1' }]);
  });

  test.each([
    ['declared-http', '1.1'],
    ['declared-h2', '2.0'],
    ['only-h2', '2.0'],
  ])('%s is spoken to in HTTP/%s', async (name, version) => {
    const answer = await ask(caller.ports.outbound, get(name));
    expect([answer.status, header(answer, 'x-speaks')]).toEqual([200, version]);
  });

  test.each(['wildcard', 'by-uri', 'by-san', 'any-of-domain', 'system'])('%s is believed', async (name) => {
    expect((await ask(caller.ports.outbound, get(name))).status).toBe(200);
  });

  test.each([
    ['expired', 'upstream_certificate_expired'],
    ['foreign', 'upstream_untrusted_ca'],
    ['not-system', 'upstream_untrusted_ca'],
    ['wrong', 'upstream_certificate_wrong_name'],
    ['nameless', 'upstream_certificate_wrong_name'],
    ['tricky', 'upstream_certificate_wrong_name'],
    ['not-by-san', 'upstream_certificate_wrong_name'],
    ['without-file', 'client_certificate_unusable'],
  ])('%s is a 502 with the word %s', async (name, word) => {
    const answer = await ask(caller.ports.outbound, get(name));
    expect([answer.status, wordOf(answer)]).toEqual([502, word]);
  });

  test('is shown the client certificate that a TrafficPolicy names, whose key appears nowhere', async () => {
    const answer = await ask(caller.ports.outbound, get('with-certificate'));
    expect(header(answer, 'x-caller')).toBe('CN=leaf');
    expect(header(await ask(caller.ports.outbound, get('right')), 'x-caller')).toBe('nobody');
    const dump = await (await caller.ask('admin', '/config_dump')).text();
    expect(dump).toContain('with-certificate');
    expect(dump + caller.program.lines.join('\n')).not.toContain('PRIVATE KEY');
  });

  test('is checked in its own TLS, and is not well with a certificate that is not believed', async () => {
    const health = async (name: string): Promise<boolean | undefined> => {
      const all = (await (await caller.ask('admin', '/clusters?format=json')).json()) as {
        clusters: { key: string; endpoints: { state: string }[] }[];
      };
      return all.clusters.find(({ key }) => key === `default/${name}:80`)?.endpoints[0]?.state !== 'unhealthy';
    };
    await eventually('the foreign one is found unwell', async () => !(await health('checked-foreign')) || undefined);
    expect(await health('checked')).toBe(true);
    const before = checks.length;
    await eventually('the right one is asked', () => checks.length > before || undefined);
    expect([await health('checked'), checks.at(-1)?.serverName]).toEqual([true, HOST]);
  });

  test('gets opaque bytes in TLS too, and its sessions are resumed', async () => {
    resumptions.length = 0;
    for (let i = 0; i < 3; i++) await echoed('bytes');
    expect(resumptions).toEqual([false, true, true]);
  });

  test('is not wrapped in TLS again where the application speaks TLS itself', async () => {
    const socket = connectTcp(caller.ports.outbound, '127.0.0.1');
    socket.write('CONNECT passed:80 HTTP/1.1\r\nHost: passed:80\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain(' 200 ');
    const inner = connectTls({ socket, ca: theirs.certificate, servername: 'own.example' });
    await once(inner, 'secureConnect');
    inner.write('ping');
    const [back] = (await once(inner, 'data')) as [Buffer];
    expect(back.toString()).toBe('ping');
    inner.destroy();
  });

  test('is judged by the new policy from its first request on, whatever connections and sessions there were', async () => {
    await echoed('bytes');
    const handshakes = resumptions.length;
    expect((await ask(caller.ports.outbound, get('right'))).status).toBe(200);
    const others = documents.map((each) => each.replaceAll(`"hostname": "${HOST}"`, '"hostname": "new.example.com"'));
    await mesh.apply(caller, 'caller', others);
    expect(wordOf(await ask(caller.ports.outbound, get('right')))).toBe('upstream_certificate_wrong_name');
    using client = await openClient(caller.ports.outbound);
    await client.write('CONNECT bytes:80 HTTP/1.1\r\nHost: bytes:80\r\n\r\n');
    // A tunnel may carry the caller's own TLS, so it is open before it is known how it goes on.
    expect(await client.ended).toBe('fin');
    expect(resumptions.slice(handshakes)).not.toContain(true);
    expect(await caller.metric('weft_refusals_total', 'word="upstream_certificate_wrong_name"')).toBeGreaterThan(0);
  });
});
