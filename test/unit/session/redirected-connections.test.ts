/**
 * Redirected connections through the outbound side of the data path, in this process: where TLSRoute, TCPRoute and
 * BackendTLSPolicy send them, by the address they were going to.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { link } from '../../../proxy/config/link.ts';
import { IoThread } from '../../../proxy/net/io-thread.ts';
import { OUTBOUND } from '../../../proxy/session/resolve.ts';
import { Room } from '../../../proxy/session/room.ts';
import { Story } from '../../../proxy/session/story.ts';
import { outbound } from '../../../proxy/stack.ts';
import { Metrics } from '../../../proxy/telemetry/metrics.ts';
import { UNKNOWN_PARTY } from '../../../proxy/telemetry/record.ts';
import { Clusters } from '../../../proxy/upstream/clusters.ts';
import { systemClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { openClient, type RawClient } from '../../support/client.ts';
import { OpenSslCa } from '../../support/openssl-ca.ts';
import { Folder } from '../../support/policy.ts';
import { document, PARENT_A, snapshotOf } from '../../support/policy-documents.ts';
import { readRecord } from '../net/sockets.ts';

const ADDRESS = '10.96.0.1';
const words: string[] = [];
const servers: Server[] = [];
const sockets: Socket[] = [];
const folder = new Folder('weft-redirected-');
const ca = new OpenSslCa(folder, 'ours');
const { certificate, key } = ca.issue(['DNS:db.example']);
const io = new IoThread(systemClock, new Random(1));
const clusters = new Clusters(io, { thread: 0, threads: 1 }, { onBreaker() {}, onEjection() {} });
const story = new Story(systemClock, new Metrics(), UNKNOWN_PARTY, {
  spans() {},
  notice: (_level, _message, fields) => void words.push(String(fields['word'])),
});
const room = new Room(io, 'outbound', story, OUTBOUND);
let plain = 0;
let other = 0;
let secure = 0;
let entry = 0;

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** Says its name before what it hears. */
function named(name: string): (socket: Socket) => void {
  return (socket) => {
    sockets.push(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', (chunk: Buffer) => socket.write(`${name} ${chunk.toString('latin1')}`));
  };
}

beforeAll(async () => {
  plain = await listen(createServer(named('plain')));
  other = await listen(createServer(named('other')));
  secure = await listen(createTls({ cert: certificate, key }, named('secure')));
  const serve = outbound(room);
  entry = await listen(
    createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => serve(socket, { host: ADDRESS, port: 80 })),
  );
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  room.destroyAll();
  words.length = 0;
});

afterAll(() => {
  clusters.update([]);
  for (const server of servers) server.close();
  folder.remove();
});

/** Services a (at the address that callers connect to), b and c, whose endpoints these ports are. */
function use(portName: string, documents: string, aPort: number): void {
  const services = (['a', 'b', 'c'] as const).map((name) => {
    const address = name === 'a' ? `clusterIP: ${ADDRESS}, ` : '';
    const endpoint = { a: aPort, b: plain, c: other }[name];
    const labels = `labels: {kubernetes.io/service-name: ${name}}, annotations: {weft.dev/mtls: disabled}`;
    return (
      document('Service', name, `{${address}ports: [{port: 80, name: ${portName}}]}`) +
      `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}-1, ${labels}}\n` +
      `addressType: IPv4\nports: [{name: ${portName}, port: ${endpoint}}]\nendpoints: [{addresses: [127.0.0.1]}]\n`
    );
  });
  const snapshot = snapshotOf(services.join('') + documents);
  room.snapshot = link(snapshot, clusters, () => false);
  clusters.update(snapshot.clusters);
}

function to(name: string, kind: 'TCPRoute' | 'TLSRoute', backend: string, hostnames = ''): string {
  return document(
    kind,
    name,
    `{parentRefs: [${PARENT_A}], ${hostnames}rules: [{backendRefs: [{name: ${backend}, port: 80}]}]}`,
  );
}

async function helloFor(servername: string): Promise<Buffer> {
  const listener = createServer();
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const { port } = listener.address() as AddressInfo;
  const client = connectTls({ port, host: '127.0.0.1', servername });
  client.on('error', () => {});
  const [socket] = (await once(listener, 'connection')) as [Socket];
  const hello = await readRecord(socket);
  client.destroy();
  socket.destroy();
  listener.close();
  return hello;
}

/** What comes back first, or '' where the connection is ended without a byte. */
async function answerTo(bytes: string | Buffer): Promise<string> {
  using client: RawClient = await openClient(entry);
  await client.write(bytes);
  const heard = client.until(() => (client.text.includes(' ') ? client.text : undefined)).catch(() => client.text);
  return (await heard).split(' ', 1)[0] ?? '';
}

const POLICY = (more = ''): string =>
  document(
    'BackendTLSPolicy',
    'p',
    `{targetRefs: [{kind: Service, name: a}], validation: {hostname: db.example, caCertificateRefs: [{kind: ConfigMap, name: ca}]${more}}}`,
  ) +
  `---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca}\ndata: ${JSON.stringify({ 'ca.crt': ca.certificate })}\n`;

describe('a redirected connection', () => {
  test.each(['tcp', 'tls', 'main'])('on a port named %s goes where its TCPRoute says', async (portName) => {
    use(portName, to('r', 'TCPRoute', 'c'), plain);
    expect(await answerTo('EHLO nobody\r\n')).toBe('other');
    expect(await answerTo(await helloFor('x.example'))).toBe('other');
  });

  test.each(['tcp', 'tls', 'main'])('on a port named %s goes by the server name of its hello', async (portName) => {
    use(
      portName,
      to('one', 'TLSRoute', 'b', 'hostnames: [b.example], ') + to('two', 'TLSRoute', 'c', 'hostnames: ["*.example"], '),
      plain,
    );
    expect(await answerTo(await helloFor('b.example'))).toBe('plain');
    expect(await answerTo(await helloFor('c.example'))).toBe('other');
    expect(await answerTo(await helloFor('c.other'))).toBe('');
    expect(words).toEqual(['no_route']);
  });

  test('that is no TLS is refused by a TLSRoute', async () => {
    use('tls', to('one', 'TLSRoute', 'b', 'hostnames: [b.example], '), plain);
    expect(await answerTo('EHLO nobody\r\n')).toBe('');
    expect(words).toEqual(['no_route']);
  });

  test('to a backend that does not exist is refused', async () => {
    use('tcp', to('r', 'TCPRoute', 'gone'), plain);
    expect(await answerTo('EHLO nobody\r\n')).toBe('');
    expect(words).toEqual(['invalid_backend']);
  });

  test.each(['tcp', 'main'])('on a port named %s gets the TLS that its BackendTLSPolicy asks for', async (portName) => {
    use(portName, POLICY(), secure);
    expect(await answerTo('EHLO nobody\r\n')).toBe('secure');
  });

  test('that is TLS already is not wrapped once more', async () => {
    use('tcp', POLICY(), secure);
    const client = connectTls({ port: entry, host: '127.0.0.1', servername: 'db.example', ca: ca.certificate });
    await once(client, 'secureConnect');
    client.write('hello');
    const [heard] = (await once(client, 'data')) as [Buffer];
    client.destroy();
    expect(heard.toString()).toBe('secure hello');
  });

  test('to an endpoint whose certificate has another name is closed', async () => {
    use('tcp', POLICY(', subjectAltNames: [{type: Hostname, hostname: other.example}]'), secure);
    expect(await answerTo('EHLO nobody\r\n')).toBe('');
  });
});
