import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openClient, openTlsClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import type { Weft } from '../support/weft.ts';
import { ask, logLine, meshed, plain, TinyMesh, wordOf } from './mesh.ts';
import { asPeer } from './rotating.ts';

const mesh = new TinyMesh();
let caller: Weft;
/** What the application does with a connection; set by each test. */
let serve: (socket: Socket) => void = () => {};
const sockets: Socket[] = [];
const app = createServer({ allowHalfOpen: true }, (socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  sockets.push(socket);
  serve(socket);
});

beforeAll(async () => {
  await once(app.listen(0, '127.0.0.1'), 'listening');
  const { port } = app.address() as AddressInfo;
  const callee = await mesh.start({ account: 'callee', app: port });
  const bytes = meshed({ name: 'secure', port: 5432, appProtocol: 'tcp', endpoints: [callee.ports.inbound] });
  await mesh.apply(callee, 'callee', bytes);
  caller = await mesh.start({
    account: 'caller',
    flags: ['--access-log', 'json'],
    documents: [
      ...bytes,
      ...plain({ name: 'open', port: 5432, appProtocol: 'tcp', endpoints: [port] }),
      ...plain({ name: 'dead', port: 5432, appProtocol: 'tcp', endpoints: [await freePort()] }),
      ...plain({ name: 'half', port: 5432, appProtocol: 'tcp', endpoints: [await freePort(), port] }),
    ],
  });
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  app.close();
});

// A caller that has gone leaves the application's side open: it may have more to say.
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

function connectTo(host: string): string {
  return `CONNECT ${host}:5432 HTTP/1.1\r\nHost: ${host}:5432\r\n\r\n`;
}

async function tunnel(host: string): Promise<RawClient> {
  const client = await openClient(caller.ports.outbound);
  const answer = await client.exchange(connectTo(host), 'CONNECT');
  expect(answer.status).toBe(200);
  return client;
}

/** What the client has got after the answer to CONNECT. */
function tunnelled(client: RawClient): string {
  return client.text.slice(client.text.indexOf('\r\n\r\n') + 4);
}

describe.each(['open', 'secure'])('a CONNECT tunnel to the %s Service', (host) => {
  test('carries bytes both ways, and the end of each side as an end', async () => {
    const received: string[] = [];
    serve = (socket) => {
      socket.on('data', (chunk: Buffer) => {
        received.push(chunk.toString());
        socket.write(`got ${chunk.toString()}`);
      });
      socket.on('end', () => socket.end('and the end'));
    };
    using client = await tunnel(host);
    await client.write('hello');
    await client.until(() => tunnelled(client) === 'got hello' || undefined);
    client.finish();
    expect(await client.ended).toBe('fin');
    expect(tunnelled(client)).toBe('got helloand the end');
    expect(received).toEqual(['hello']);
  });

  test('lets the caller talk on after the application has ended its side', async () => {
    const all = Promise.withResolvers<string>();
    serve = (socket) => {
      let text = '';
      socket.once('data', () => socket.end('bye'));
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('end', () => all.resolve(text));
    };
    using client = await tunnel(host);
    await client.write('first');
    expect(await client.ended).toBe('fin');
    await client.write(' and last');
    client.finish();
    expect(await all.promise).toBe('first and last');
  });

  test('passes a reset of the application on as a reset', async () => {
    serve = (socket) => void socket.once('data', () => socket.resetAndDestroy());
    using client = await tunnel(host);
    await client.write('x');
    expect(await client.ended).toBe('reset');
  });

  test('passes a reset of the caller on as a reset', async () => {
    const how = Promise.withResolvers<string>();
    const seen = Promise.withResolvers<void>();
    serve = (socket) => {
      socket.on('data', () => seen.resolve());
      socket.on('error', () => how.resolve('reset'));
      socket.on('end', () => how.resolve('fin'));
    };
    using client = await tunnel(host);
    await client.write('x');
    await seen.promise;
    client.reset();
    expect(await how.promise).toBe('reset');
  });

  test('lets an application speak first', async () => {
    serve = (socket) => socket.write('220 welcome\r\n');
    using client = await tunnel(host);
    await client.until(() => tunnelled(client) === '220 welcome\r\n' || undefined);
  });

  test('carries what the caller sent along with its CONNECT', async () => {
    serve = (socket) => socket.pipe(socket);
    using client = await openClient(caller.ports.outbound);
    await client.write(`${connectTo(host)}early`);
    await client.answer('CONNECT');
    await client.until(() => tunnelled(client) === 'early' || undefined);
  });

  test('carries 32 MB each way at once, whole', async () => {
    serve = (socket) => socket.pipe(socket);
    using client = await tunnel(host);
    const chunk = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 7) % 251));
    const chunks = 512;
    let back = 0;
    let wrong = 0;
    const done = Promise.withResolvers<void>();
    client.socket.removeAllListeners('data');
    client.socket.on('data', (part: Buffer) => {
      for (let i = 0; i < part.length; i += 997) if (part[i] !== chunk[(back + i) % chunk.length]) wrong++;
      back += part.length;
      if (back === chunks * chunk.length) done.resolve();
    });
    for (let i = 0; i < chunks; i++) if (!client.socket.write(chunk)) await once(client.socket, 'drain');
    await done.promise;
    expect(wrong).toBe(0);
  });
});

test('a closed tunnel stands in the access log and in the metrics', async () => {
  serve = (socket) => socket.once('data', () => socket.end('four'));
  using client = await tunnel('secure');
  await client.write('3'.repeat(33));
  await client.ended;
  client.finish();
  const line = await logLine(
    caller,
    ({ authority, received_bytes: bytes }) => authority === 'secure:5432' && bytes === 33,
  );
  expect(line).toMatchObject({
    direction: 'outbound',
    protocol: 'TCP',
    sent_bytes: 4,
    cluster: 'default/secure:5432',
    upstream_principal: 'spiffe://cluster.local/ns/default/sa/callee',
  });
  expect(
    await caller.metric('istio_tcp_connections_closed_total', 'destination_service_name="secure"'),
  ).toBeGreaterThan(0);
  expect(await caller.metric('istio_tcp_sent_bytes_total', 'destination_service_name="secure"')).toBeGreaterThan(0);
});

test('CONNECT to a Service whose endpoint is dead is refused with the word for it', async () => {
  const answer = await ask(caller.ports.outbound, connectTo('dead'));
  expect([answer.status, wordOf(answer)]).toEqual([502, 'connect_refused']);
});

test('CONNECT goes around a dead endpoint', async () => {
  serve = (socket) => socket.end('alive');
  for (let i = 0; i < 6; i++) {
    using client = await tunnel('half');
    await client.until(() => tunnelled(client) === 'alive' || undefined);
  }
});

test('CONNECT to a port that the Service does not have is 404', async () => {
  const answer = await ask(caller.ports.outbound, 'CONNECT secure:1 HTTP/1.1\r\nHost: secure:1\r\n\r\n');
  expect([answer.status, wordOf(answer)]).toEqual([404, 'no_service_port']);
});

test('CONNECT to the inbound listener is refused, and says that only the outbound one opens tunnels', async () => {
  const web = await mesh.start({ account: 'web', app: (app.address() as AddressInfo).port });
  const peer = asPeer(mesh.ca.identity('default/friend'));
  const options = { ...peer, rejectUnauthorized: false, ALPNProtocols: ['istio-http/1.1'] };
  using client = await openTlsClient(web.ports.inbound, options);
  const answer = await client.exchange(connectTo('secure'), 'CONNECT');
  expect([answer.status, wordOf(answer)]).toEqual([404, 'no_route']);
  expect(answer.body.toString()).toBe(
    'no_route: CONNECT is served by the outbound listener alone (a proxy behind the inbound one needs a tcp port)\n',
  );
});

test('bytes of no protocol sent to the outbound listener itself are refused with a word of their own', async () => {
  using client = await openClient(caller.ports.outbound);
  await client.write('\x00\x01\x02 not http');
  await client.ended;
  await logLine(caller, ({ word }) => word === 'unknown_protocol');
});

test('tunnels that are gone hold nothing', async () => {
  for (const side of ['upstream', 'downstream']) {
    await eventually(
      `nothing is open ${side}`,
      async () => (await caller.metric(`weft_${side}_connections`)) === 0 || undefined,
    );
  }
});
