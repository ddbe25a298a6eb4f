import { connect } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { TestCa } from '../../support/certificates.ts';
import { RawClient } from '../../support/client.ts';
import { eventually } from '../../support/eventually.ts';
import { RoomStage, type StageOptions } from './room-stage.ts';

let stage: RoomStage;
afterEach(() => stage[Symbol.asyncDispose]());

const MESH = (forwarders: string): string =>
  `apiVersion: weft.dev/v1\nkind: Mesh\nmetadata: {name: mesh}\nspec: {trustedForwarders: [${forwarders}]}\n---\n` +
  'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}\nspec: {mtls: {mode: PERMISSIVE}}\n';
const LISTED = MESH('127.0.0.0/8');
const HEADER = 'PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n';
const BINARY = `\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c${String.fromCharCode(192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80)}`;

async function open(policy: string, options: StageOptions = {}): Promise<void> {
  stage = await RoomStage.open({ direction: 'inbound', policy, ...options });
}

/** The head of the request as the application gets it. */
async function requestSeen(): Promise<string> {
  stage.serve = (socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  using client = await stage.connect();
  await client.exchange(`${HEADER}GET / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n`);
  return (await stage.connection(0)).text;
}

test('a request behind a header comes from the address that it names, which is no forwarder itself', async () => {
  await open(LISTED);
  const head = await requestSeen();
  expect(/\r\nx-forwarded-for: ([^\r]*)\r\n/i.exec(head)?.[1]).toBe('192.0.2.7');
  expect(head.includes('PROXY')).toBe(false);
});

test.each([
  ['version 1', HEADER],
  ['version 2', BINARY],
])(
  'a header of %s is taken off opaque bytes, however it is cut, and its address is in the log',
  async (_name, header) => {
    await open(LISTED);
    stage.serve = (socket) => socket.write('220 welcome\r\n');
    using client = await stage.connect();
    await client.writeBytewise(header);
    await client.write('\x01\x02\n');
    const server = await stage.connection(0);
    await server.until('\x01\x02\n');
    client.finish();
    server.socket.end();
    await client.ended;
    await eventually('it is in the log', () => stage.records[0]);
    expect(stage.records.map(({ downstream }) => downstream)).toEqual(['192.0.2.7:4711']);
  },
);

test('a caller that is silent behind its header gets the greeting of its server', async () => {
  await open(LISTED);
  stage.serve = (socket) => socket.write('220 welcome\r\n');
  using client = await stage.connect();
  await client.write(HEADER);
  await stage.read(HEADER.length);
  await stage.pass(5);
  await client.until(() => client.text === '220 welcome\r\n' || undefined);
});

test('a mesh caller behind a header is verified as any, and comes from the address in it', async () => {
  const ca = new TestCa();
  await open(LISTED, { ca });
  const { certificateChain: cert, privateKey: key } = ca.identity('shop/friend');
  const raw = await stage.connect();
  await raw.write(HEADER);
  raw.socket.removeAllListeners('data');
  using client = new RawClient(
    connect({
      socket: raw.socket,
      cert,
      key,
      ca: ca.trustBundle,
      ALPNProtocols: ['istio'],
      checkServerIdentity: () => undefined,
    }),
  );
  await client.write('\x01\n');
  const server = await stage.connection(0);
  await server.until('\x01\n');
  server.socket.end();
  client.close();
  raw.close();
  expect(await eventually('it is in the log', () => stage.records[0])).toMatchObject({
    downstream: '192.0.2.7:4711',
    downstreamPrincipal: 'spiffe://cluster.local/ns/shop/sa/friend',
  });
});

test.each([
  ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
  ['nothing', ''],
])(
  'a header of anybody else, with %s behind it, is refused with a word, and the server sees nothing',
  async (_what, rest) => {
    await open(MESH('192.0.2.0/24'));
    using client = await stage.connect();
    await client.write(`${HEADER}${rest}`);
    await client.ended;
    expect([stage.words, stage.served.length]).toEqual([['proxy_protocol_refused'], 0]);
  },
);

test.each([
  ['a broken one', 'PROXY TCP4 10.0.0.1\r\n'],
  ['a second one', `${HEADER}${HEADER}`],
])('of a trusted forwarder %s is refused with a word', async (_what, bytes) => {
  await open(LISTED);
  using client = await stage.connect();
  await client.write(bytes);
  await client.ended;
  expect([stage.words, stage.served.length]).toEqual([['proxy_protocol_malformed'], 0]);
});

test('what a connection was dialled for before its header came is not used after it', async () => {
  await open(LISTED);
  using client = await stage.connect();
  await stage.pass(5);
  const before = await stage.connection(0);
  await client.write(`${HEADER}\x01\n`);
  await (await stage.connection(1)).until('\x01\n');
  expect([await before.untilEnd(), before.text]).toEqual(['fin', '']);
});

test('outbound, a header is the application and its server speaking: it passes', async () => {
  await open(LISTED, { direction: 'outbound' });
  using client = await stage.connect();
  await client.write(HEADER);
  await (await stage.connection(0)).until(HEADER);
});
