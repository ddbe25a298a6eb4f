import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/ports.ts';
import { RoomStage, type StageOptions } from './room-stage.ts';

let stage: RoomStage;

async function open(options: StageOptions = {}): Promise<void> {
  stage = await RoomStage.open(options);
}

afterEach(() => stage[Symbol.asyncDispose]());

const REQUEST = 'GET /x HTTP/1.1\r\nHost: app\r\n\r\n';
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers any request; says `first` at once. */
function http(first = ''): void {
  stage.serve = (socket) => {
    if (first !== '') socket.write(first, 'latin1');
    socket.on('data', () => socket.write(ANSWER));
  };
}

describe('a caller that says nothing', () => {
  test('has its server dialled after 2 ms, and gets what it says first', async () => {
    await open();
    stage.serve = (socket) => socket.write('220 welcome\r\n');
    using client = await stage.connect();
    await stage.pass(1);
    expect([stage.cluster.pool.connections, stage.served.length]).toEqual([0, 0]);
    await stage.pass(1);
    await client.until(() => client.text === '220 welcome\r\n' || undefined);
    const server = await stage.connection(0);
    await client.write('EHLO me\r\n');
    await server.until('EHLO me\r\n');
    expect(stage.served.length).toBe(1);
  });

  test('gets a greeting that comes byte by byte, and a long one, whole', async () => {
    await open();
    const greeting = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7 + 1) % 251));
    stage.serve = (socket) => {
      for (let i = 0; i < 20; i++) socket.write(greeting.subarray(i, i + 1));
      socket.write(greeting.subarray(20));
    };
    using client = await stage.connect();
    await stage.pass(2);
    await client.until(() => client.received.length === greeting.length || undefined);
    expect(client.received.equals(greeting)).toBe(true);
  });

  test('and then sends a request is served as HTTP, by another connection: the first is dropped unused', async () => {
    await open();
    http();
    using client = await stage.connect();
    await stage.pass(2);
    const unused = await stage.connection(0);
    const answer = await client.exchange(REQUEST);
    expect(answer.body.toString()).toBe('ok');
    expect([await unused.untilEnd(), unused.text, stage.served.length]).toEqual(['fin', '', 2]);
  });

  test('and then sends other bytes has them sent on the connection that was made', async () => {
    await open();
    using client = await stage.connect();
    await stage.pass(2);
    const server = await stage.connection(0);
    await client.write('\x01\x02\x03');
    await server.until('\x01\x02\x03');
    expect(stage.served.length).toBe(1);
  });

  test.each([
    ['an answer to no request', 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'],
    ['the SETTINGS of HTTP/2', '\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64'],
  ])('gets nothing of a server that begins with %s: what it asks is still judged as HTTP', async (_what, first) => {
    await open();
    http(first);
    using client = await stage.connect();
    await stage.pass(2);
    await (await stage.connection(0)).untilEnd();
    stage.serve = (socket) => socket.on('data', () => socket.write(ANSWER));
    const answer = await client.exchange(REQUEST);
    expect(answer.body.toString()).toBe('ok');
    expect(client.text.startsWith('HTTP/1.1 200')).toBe(true);
  });

  test('is heard out when it has begun to speak before the server did', async () => {
    await open();
    http();
    using client = await stage.connect();
    await stage.pass(2);
    const server = await stage.connection(0);
    await client.write('GE');
    await stage.read('GE'.length);
    server.socket.write('220 too late\r\n');
    await stage.pass(1);
    const answer = await client.exchange(`T ${REQUEST.slice(4)}`);
    expect([answer.body.toString(), client.text.includes('220')]).toEqual(['ok', false]);
  });

  test('sees the server end, or reset, before a word as without a sidecar', async () => {
    await open();
    stage.serve = (socket) => socket.end();
    using client = await stage.connect();
    await stage.pass(2);
    expect(await client.ended).toBe('fin');
    stage.serve = () => {};
    using other = await stage.connect();
    await stage.pass(2);
    const server = await stage.connection(1);
    // Until our side, too, knows that it is connected.
    await stage.pass(1);
    server.socket.resetAndDestroy();
    expect(await other.ended).toBe('reset');
  });

  test('and ends its side gets what its server has to say', async () => {
    await open();
    stage.serve = (socket) => socket.on('end', () => socket.end('12:00')).resume();
    using client = await stage.connect();
    client.finish();
    expect([await client.ended, client.text]).toEqual(['fin', '12:00']);
  });

  test('and goes takes the dial with it', async () => {
    await open();
    const client = await stage.connect();
    await stage.pass(2);
    const server = await stage.connection(0);
    client.reset();
    await server.untilEnd();
    await stage.idle();
    await eventually('nobody is there', () => stage.room.open === 0 || undefined);
  });

  test('holds a connection to a silent server for 45 s, and may still speak after an hour', async () => {
    await open();
    http();
    using client = await stage.connect();
    await stage.pass(2);
    const unused = await stage.connection(0);
    await stage.pass(44_000);
    expect(stage.cluster.pool.connections).toBe(1);
    await stage.pass(1_000);
    await stage.idle();
    expect(await unused.untilEnd()).toBe('fin');
    await stage.pass(3_000_000);
    expect((await client.exchange(REQUEST)).body.toString()).toBe('ok');
  });

  test('is let go after an hour', async () => {
    await open();
    using client = await stage.connect();
    await stage.pass(2);
    await stage.connection(0);
    await stage.pass(45_000);
    await stage.pass(3_600_000);
    expect(await client.ended).toBe('fin');
  });

  test('is closed a second after its server could not be dialled, with the word; a request gets its answer', async () => {
    await open({ serverPort: await freePort(), spec: { retries: 0 } });
    using silent = await stage.connect();
    using asking = await stage.connect();
    await stage.pass(2);
    await stage.idle();
    const answer = await asking.exchange(REQUEST);
    expect(answer.status).toBe(502);
    await stage.pass(1_000);
    expect(await silent.ended).toBe('reset');
    expect(stage.words).toContain('connect_refused');
  });

  test('counts in the connection limit of its server', async () => {
    await open({ maxConnections: 1 });
    stage.serve = (socket) => socket.write('220 one\r\n');
    using first = await stage.connect();
    await stage.pass(2);
    await first.until(() => first.text === '220 one\r\n' || undefined);
    using second = await stage.connect();
    await stage.pass(2);
    await stage.pass(1_000);
    expect([await second.ended, second.text, stage.served.length]).toEqual(['reset', '', 1]);
    expect(stage.words).toContain('connection_limit');
  });
});

test('bytes that came while the thread was late are read before anybody is taken for silent', async () => {
  await open();
  http();
  using client = await stage.connect();
  // As a timer does that fires late: in the turn of the loop that will read those bytes.
  await new Promise<void>((resolve) => {
    setTimeout(() => {
      void client.write(REQUEST);
      const end = performance.now() + 10_000;
      while (unread(stage.port, client.socket.localPort ?? 0) < REQUEST.length && performance.now() < end);
      stage.clock.advance(50);
      resolve();
    }, 0);
  });
  expect((await client.answer()).body.toString()).toBe('ok');
  expect(stage.served.length).toBe(1);
});

/** Bytes that wait in the kernel for the accepted end of a connection (Documentation/networking/proc_net_tcp). */
function unread(localPort: number, remotePort: number): number {
  const hex = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
    const [, local = '', remote = '', , queues = ''] = line.trim().split(/ +/);
    if (local.endsWith(hex(localPort)) && remote.endsWith(hex(remotePort))) {
      return Number.parseInt(queues.split(':')[1] ?? '', 16);
    }
  }
  return 0;
}

test('a caller that speaks within 2 ms has nothing dialled for it but what its request needs', async () => {
  await open();
  http();
  using client = await stage.connect();
  expect((await client.exchange(REQUEST)).body.toString()).toBe('ok');
  await stage.pass(1_000);
  expect(stage.served.length).toBe(1);
});

describe('a declared port', () => {
  test('of bytes is dialled at once, and passes even HTTP byte for byte', async () => {
    await open({ protocol: 'tcp' });
    stage.serve = (socket) => socket.write('220 welcome\r\n');
    using client = await stage.connect();
    const server = await stage.connection(0);
    await client.write('get  /  HTTP/9\n');
    await server.until('get  /  HTTP/9\n');
    await client.until(() => client.text === '220 welcome\r\n' || undefined);
  });

  test('of HTTP is never dialled for silence, and answers 400 to what is no HTTP', async () => {
    await open({ protocol: 'http' });
    using client = await stage.connect();
    await stage.pass(1_000);
    const answer = await client.exchange('\x01\x02\x03\r\n\r\n');
    expect([answer.status, stage.served.length]).toEqual([400, 0]);
  });
});

const MODE = (mode: string): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}\nspec: {mtls: {mode: ${mode}}}\n`;

describe('inbound', () => {
  test('a silent caller in clear text gets the greeting of a DISABLE port', async () => {
    await open({ direction: 'inbound', policy: MODE('DISABLE') });
    stage.serve = (socket) => socket.write('220 welcome\r\n');
    using client = await stage.connect();
    await stage.pass(2);
    await client.until(() => client.text === '220 welcome\r\n' || undefined);
  });

  test.each(['auto', 'tcp'] as const)('and of a PERMISSIVE port (%s), a little later', async (protocol) => {
    await open({ direction: 'inbound', policy: MODE('PERMISSIVE'), protocol });
    stage.serve = (socket) => socket.write('220 welcome\r\n');
    using client = await stage.connect();
    await stage.pass(2);
    expect(stage.cluster.pool.connections).toBe(0);
    await stage.pass(3);
    await client.until(() => client.text === '220 welcome\r\n' || undefined);
  });

  test('but not of a STRICT one, where nothing is dialled without a certificate', async () => {
    await open({ direction: 'inbound' });
    using client = await stage.connect();
    await stage.pass(45_000);
    expect(stage.cluster.pool.connections).toBe(0);
    await client.write('hello\n');
    expect([await client.ended, stage.words]).toEqual(['fin', ['plaintext_refused']]);
  });
});
