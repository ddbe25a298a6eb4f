/** What a caller says of itself, and what the application may believe: only what this sidecar saw, or who is trusted said. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { get, wordOf } from '../integration/mesh.ts';
import { openTlsClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { Stage, valuesOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());
beforeEach(() => stage.begin());

/** A caller of the mesh, verified by its certificate. */
function peer(): Promise<RawClient> {
  const { certificateChain, privateKey, trustBundle } = stage.mesh.ca.identity('default/neighbour');
  return openTlsClient(stage.weft.ports.inbound, {
    cert: certificateChain,
    key: privateKey,
    ca: trustBundle,
    ALPNProtocols: ['istio-http/1.1'],
    rejectUnauthorized: false,
  });
}

const SPOOFED: readonly string[] = [
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Port: 666',
  'X-Forwarded-Prefix: /evil',
  'X-Forwarded-Ssl: evil',
  'X-Forwarded-Scheme: evil',
  'X-Forwarded-Server: evil',
  'X-Forwarded-Client-Cert: By=x;URI=spiffe://cluster.local/ns/default/sa/evil',
  'X-Forwarded-Client-Cert-Chain: evil',
  'Forwarded: for=6.6.6.6;host=evil.example',
  'X-Real-IP: 6.6.6.6',
  'X-Request-Id: evil-id',
  'X-Envoy-External-Address: 6.6.6.6',
  'X-Envoy-Internal: evil',
  'X-Envoy-Original-Path: /evil',
  'X-Envoy-Peer-Metadata-Id: evil',
  'Weft-Origin: evil',
  'Weft-Attempt: 666',
  'Weft-Deadline-Ms: 666',
];

/** How a name is disguised from whoever compares it byte by byte. */
const DISGUISES: readonly (readonly [string, (name: string) => string])[] = [
  ['as they are', (name) => name],
  ['in capitals', (name) => name.toUpperCase()],
  ['in small letters', (name) => name.toLowerCase()],
  ['with underscores', (name) => name.replaceAll('-', '_')],
  ['with one underscore', (name) => name.replace('-', '_')],
  ['with the last hyphen an underscore', (name) => name.replace(/-(?!.*-)/, '_')],
];

describe('from a stranger on a PERMISSIVE port only our own values arrive', () => {
  test.for(DISGUISES)('spoofed fields %s', async ([, disguise]) => {
    const lines = SPOOFED.map((line) => line.replace(/^[^:]+/, disguise));
    using client = await stage.inbound();
    expect((await client.exchange(get('app', '/x', ...lines))).status).toBe(200);
    const head = stage.app.seen[0]?.head ?? '';
    expect(head).not.toMatch(/evil|666|6\.6\.6\.6/);
    expect(valuesOf(head, 'x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(valuesOf(head, 'x-forwarded-proto')).toEqual(['http']);
    expect(valuesOf(head, 'x-request-id')).toHaveLength(1);
    expect(valuesOf(head, 'x-forwarded-client-cert')).toEqual([]);
  });

  test('several lines of one name, and a name twice in two spellings', async () => {
    using client = await stage.inbound();
    const lines = ['X-Forwarded-For: 6.6.6.6', 'x-forwarded-for: 6.6.6.6', 'X_Forwarded-For: 6.6.6.6'];
    await client.exchange(get('app', '/x', ...lines, 'X-Kept: yes', ...lines));
    const head = stage.app.seen[0]?.head ?? '';
    expect(head).not.toContain('6.6.6.6');
    expect(valuesOf(head, 'x-kept')).toEqual(['yes']);
  });

  test('a scheme in the target', async () => {
    using client = await stage.inbound();
    await client.exchange('GET https://app/x HTTP/1.1\r\nHost: app\r\n\r\n');
    expect(valuesOf(stage.app.seen[0]?.head ?? '', 'x-forwarded-proto')).toEqual(['http']);
  });

  test('in a trailer section', async () => {
    using client = await stage.inbound();
    const trailers = SPOOFED.flatMap((line) => [line, line.replace('-', '_')]).slice(0, 32);
    await client.exchange(
      `POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n${trailers.join('\r\n')}\r\n\r\n`,
    );
    expect(stage.app.seen).toHaveLength(1);
    expect(stage.bytes).not.toMatch(/evil|666|6\.6\.6\.6/);
  });
});

describe('the own application and verified peers are believed', () => {
  test('a verified peer’s chain is kept, and our element of it is the last', async () => {
    using client = await peer();
    const before = 'By=spiffe://cluster.local/ns/a/sa/b;Hash=00;URI=spiffe://cluster.local/ns/c/sa/d';
    await client.exchange(get('app', '/x', 'X-Forwarded-For: 10.0.0.1', `X-Forwarded-Client-Cert: ${before}`));
    const head = stage.app.seen[0]?.head ?? '';
    expect(valuesOf(head, 'x-forwarded-for')).toEqual(['10.0.0.1']);
    const [chain, ...others] = valuesOf(head, 'x-forwarded-client-cert');
    expect(others).toEqual([]);
    expect(chain).toMatch(
      /^By=spiffe:\/\/cluster\.local\/ns\/a\/sa\/b;.*,By=.*;URI=spiffe:\/\/cluster\.local\/ns\/default\/sa\/neighbour$/,
    );
  });

  test('a twin of the certificate field with an underscore does not arrive beside the real one', async () => {
    using client = await peer();
    await client.exchange(
      get('app', '/x', 'X_Forwarded_Client_Cert: URI=spiffe://evil', 'X-Forwarded-Client_Cert: URI=spiffe://evil'),
    );
    expect(stage.bytes).not.toContain('evil');
  });

  test('the own application says where it was called from, but not by whom with a certificate', async () => {
    using client = await stage.outbound();
    await client.exchange(get('app', '/x', 'X-Forwarded-For: 10.0.0.1', 'X-Forwarded-Client-Cert: URI=spiffe://evil'));
    const head = stage.app.seen[0]?.head ?? '';
    expect(valuesOf(head, 'x-forwarded-for')).toEqual(['10.0.0.1']);
    expect(head).not.toContain('evil');
  });
});

describe('a plain caller on a PERMISSIVE port cannot slip past HTTP as opaque bytes', () => {
  const rest = ' / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n';
  test.for([
    ['a line feed first', `\nGET${rest}`],
    ['several line ends first', `\r\n\n\r\nGET${rest}`],
    ['a carriage return first', `\rGET${rest}`],
    ['a space first', ` GET${rest}`],
    ['a tab first', `\tGET${rest}`],
    ['a method with digits', `M1${rest}`],
    ['a method with other token characters', `G!T${rest}`],
    ['a method of 25 letters', `${'A'.repeat(25)}${rest}`],
    ['a method of 300 letters', `${'A'.repeat(300)}${rest}`],
    ['a tab after the method', `GET${rest.replace(' ', '\t')}`],
    ['two bytes at a time', `\nGET${rest}`],
  ] as const)('with %s', async ([name, bytes]) => {
    using client = await stage.inbound();
    if (name.startsWith('two'))
      for (let at = 0; at < bytes.length; at += 2) await client.write(bytes.slice(at, at + 2));
    else await client.write(bytes);
    const answer = await client.answer();
    expect(stage.bytes).not.toContain('6.6.6.6');
    expect([200, 400]).toContain(answer.status);
  });

  test('with HTTP/2 in plain text', async () => {
    using client = await stage.inbound();
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    await client.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings]));
    await client.until(() => (client.received.length >= 9 ? true : undefined)).catch(() => undefined);
    expect(stage.bytes).not.toContain('PRI * HTTP/2.0');
  });

  test('while what is no HTTP still passes: SSH, a line of text, JSON', async () => {
    for (const bytes of [
      'SSH-2.0-OpenSSH_9.6p1 Debian-1\r\n',
      '*1\r\n$4\r\nPING\r\n',
      '{"hello": "there"}',
      '\x00\x00\x00\x08\x04\xd2\x16\x2f',
    ]) {
      using client = await stage.inbound();
      await client.write(bytes);
      await eventually(`the application has ${JSON.stringify(bytes)}`, () => stage.bytes.endsWith(bytes) || undefined);
    }
  });
});

describe('hop-by-hop fields', () => {
  test.for([
    'authorization',
    'cookie',
    'host',
    'content-length',
    'transfer-encoding',
    'x-forwarded-for',
    'X-Forwarded-Client-Cert',
    'x-real-ip',
    'x-request-id',
    'traceparent',
    'x-envoy-internal',
    'via',
    'forwarded',
    'expect',
  ])('a client cannot have %s removed', async (name) => {
    await stage.expectRefusal(
      get('app', '/x', `Connection: close, ${name}`, `Authorization: Bearer t`),
      400,
      'malformed_header',
    );
  });

  test('those between neighbours end here, nominated ones too', async () => {
    using client = await stage.outbound();
    const lines = [
      'Connection: keep-alive, X-Mine, TE',
      'X-Mine: gone',
      'Keep-Alive: timeout=1',
      'Proxy-Connection: gone',
      'TE: gone, trailers',
    ];
    await client.exchange(get('app', '/x', ...lines, 'X-Other: stays'));
    const head = stage.app.seen[0]?.head ?? '';
    expect(head).not.toContain('gone');
    expect(valuesOf(head, 'keep-alive')).toEqual([]);
    expect(valuesOf(head, 'te')).toEqual(['trailers']);
    expect(valuesOf(head, 'x-other')).toEqual(['stays']);
  });
});

describe('names that JavaScript objects know are names like others', () => {
  test.for(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])(
    '%s as field, host, path, query and cookie',
    async (name) => {
      using client = await stage.outbound();
      const answer = await client.exchange(
        get('app', `/${name}?${name}=1`, `${name}: value`, `Cookie: ${name}=1`, `Connection: ${name}-x`),
      );
      expect(answer.body.toString()).toBe(`/${name}?${name}=1`);
      expect(valuesOf(stage.app.seen[0]?.head ?? '', name.toLowerCase())).toEqual(['value']);
      const unknown = await client.exchange(get(`${name}.invalid`));
      expect(wordOf(unknown)).toBe('dns_error');
    },
  );
});
