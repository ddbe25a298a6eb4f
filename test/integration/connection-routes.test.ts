/** TCPRoute and TLSRoute: where connections go that nobody looks into. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBackend, text } from '../support/backend.ts';
import { openClient } from '../support/client.ts';
import { document } from '../support/policy.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, plain, TinyMesh, wordOf } from './mesh.ts';

const mesh = new TinyMesh();
const servers: Server[] = [];
let caller: Weft;

/** Says its name and ends: for bytes of any kind. */
async function named(name: string): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => socket.end(name));
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

function route(kind: 'TCPRoute' | 'TLSRoute', name: string, parent: string, rest: object, backends: object[]): string {
  return document({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: parent }],
      ...rest,
      rules: [{ backendRefs: backends.map((backend) => ({ port: 80, ...backend })) }],
    },
  });
}

beforeAll(async () => {
  const [one, two] = [await named('one'), await named('two')];
  const http = mesh.own(await startBackend(text('over http')));
  const bytes = (name: string, port: number): string[] => plain({ name, appProtocol: 'tcp', endpoints: [port] });
  caller = await mesh.start({
    account: 'caller',
    flags: ['--access-log', 'json'],
    documents: [
      ...bytes('one', one),
      ...bytes('two', two),
      ...bytes('frontend', one),
      ...plain({ name: 'undeclared', endpoints: [one] }),
      ...plain({ name: 'web', endpoints: [http.port] }),
      ...bytes('names', one),
      ...bytes('nowhere', one),
      route('TCPRoute', 'split', 'frontend', {}, [
        { name: 'one', weight: 3 },
        { name: 'two', weight: 1 },
      ]),
      route('TCPRoute', 'to-web', 'undeclared', {}, [{ name: 'web' }]),
      route('TCPRoute', 'dead', 'nowhere', {}, [{ name: 'gone' }]),
      route('TLSRoute', 'exact', 'names', { hostnames: ['a.example.com'] }, [{ name: 'one' }]),
      route('TLSRoute', 'wide', 'names', { hostnames: ['*.example.com', '*.deep.example.com'] }, [{ name: 'two' }]),
      route('TLSRoute', 'zoned', 'names', { hostnames: ['b.example.com'] }, [{ name: 'gone' }]),
    ],
  });
});

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  for (const server of servers) server.close();
});

function connectTo(host: string): string {
  return `CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\n\r\n`;
}

/** Whom bytes through a tunnel come to. */
async function whoAnswers(host: string): Promise<string> {
  using client = await openClient(caller.ports.outbound);
  const answer = await client.exchange(connectTo(host), 'CONNECT');
  if (answer.status !== 200) return `${answer.status} ${wordOf(answer)}`;
  await client.write('x');
  await client.ended;
  return client.text.slice(client.text.indexOf('\r\n\r\n') + 4);
}

/** The bytes of a ClientHello that asks for this name. */
async function helloFor(servername: string | undefined): Promise<Buffer> {
  const listener = createServer();
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const { port } = listener.address() as AddressInfo;
  const client = connectTls({ port, host: '127.0.0.1', ...(servername === undefined ? {} : { servername }) });
  client.on('error', () => {});
  const [socket] = (await once(listener, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  listener.close();
  return hello;
}

/** Whom a ClientHello with this server name comes to; it speaks no TLS, so its name is all that comes back. */
async function whoServes(serverName: string | undefined): Promise<string> {
  const hello = await helloFor(serverName);
  using client = await openClient(caller.ports.outbound);
  expect((await client.exchange(connectTo('names'), 'CONNECT')).status).toBe(200);
  await client.write(hello);
  await client.ended;
  return client.text.slice(client.text.indexOf('\r\n\r\n') + 4);
}

describe('a TCPRoute', () => {
  test('splits connections by weight', async () => {
    const answers = await Promise.all(Array.from({ length: 160 }, () => whoAnswers('frontend')));
    const ones = answers.filter((name) => name === 'one').length;
    expect(answers.filter((name) => name === 'two')).toHaveLength(160 - ones);
    // Three in four, with a deviation of 5.5, of which six are 33.
    expect(Math.abs(ones - 120)).toBeLessThan(33);
  });

  test('takes HTTP on an undeclared port along', async () => {
    const answer = await ask(caller.ports.outbound, get('undeclared'));
    expect([answer.status, answer.body.toString()]).toEqual([200, 'over http']);
  });

  test('closes the share of a backend that does not exist, with its word', async () => {
    expect(await whoAnswers('nowhere')).toBe('500 invalid_backend');
  });
});

describe('a TLSRoute', () => {
  test.each([
    ['a.example.com', 'one'],
    ['A.Example.com', 'one'],
    ['c.example.com', 'two'],
    ['x.y.example.com', 'two'],
    ['x.deep.example.com', 'two'],
    ['b.example.com', ''],
    ['example.com', ''],
    ['a.example.org', ''],
    [undefined, ''],
  ])('takes a hello for %s to "%s"', async (serverName, name) => {
    expect(await whoServes(serverName)).toBe(name);
  });

  test('refuses what is no TLS, with its word', async () => {
    using client = await openClient(caller.ports.outbound);
    await client.exchange(connectTo('names'), 'CONNECT');
    await client.write('HELO nobody\r\n');
    await client.ended;
    expect(wordOf(await ask(caller.ports.outbound, get('names')))).toBe('no_route');
    expect(await caller.metric('weft_refusals_total', 'word="no_route"')).toBeGreaterThanOrEqual(2);
  });
});
