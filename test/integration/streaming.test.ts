import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openClient } from '../support/client.ts';
import type { Weft } from '../support/weft.ts';
import { ask, get, meshed, plain, residentBytes, TinyMesh } from './mesh.ts';

const GIB = 2 ** 30;
const CHUNK = Buffer.alloc(256 * 1024, 'x');
const MOST_GROWTH = 20 * 2 ** 20;
/** How often the slow reader stops, and for how long. */
const STOP_EVERY = 128 * 2 ** 20;
const STOP_MS = 60;

const mesh = new TinyMesh();
let hop: Weft;
let caller: Weft;
let callee: Weft;

/** Answers `GET /BYTES` with as many, and `POST /BYTES` when it has taken them, slowly. */
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.once('data', (first: Buffer) => {
    const [, method, path] = /^([A-Z]+) \/(\d+) /.exec(first.toString('latin1')) ?? [];
    const bytes = Number(path);
    const head = (length: number): string =>
      `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`;
    if (method === 'GET') void send(socket, head(bytes), bytes);
    else take(socket, bytes, first.length - first.indexOf('\r\n\r\n') - 4, () => socket.end(`${head(4)}done`));
  });
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  callee = await mesh.start({ account: 'big', app: port });
  caller = await mesh.start({
    account: 'caller',
    documents: meshed({ name: 'big', endpoints: [callee.ports.inbound] }),
  });
  hop = await mesh.start({ account: 'hop', documents: plain({ name: 'big', endpoints: [port] }) });
  // Code paths are loaded and compiled before anything is measured.
  for (const { ports } of [caller, hop]) for (let i = 0; i < 50; i++) await ask(ports.outbound, get('big', '/0'));
});
afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  server.close();
});

async function send(socket: Socket, head: string, bytes: number): Promise<void> {
  socket.write(head);
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, 'drain');
  }
}

/** Reads `bytes` bytes after the head, of which `early` came with it, with stops; then calls `done`. */
function take(socket: Socket, bytes: number, early: number, done: () => void): void {
  let taken = early;
  let stopAt = 0;
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length;
    if (taken >= bytes) {
      done();
    } else if (taken >= stopAt) {
      stopAt = taken + STOP_EVERY;
      socket.pause();
      setTimeout(() => socket.resume(), STOP_MS);
    }
  });
}

async function download(port: number, bytes: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let taken = 0;
  let stopAt = 0;
  const callback = (length: number): boolean => {
    taken += length;
    if (taken >= bytes) resolve();
    if (taken < stopAt) return true;
    stopAt = taken + STOP_EVERY;
    setTimeout(() => socket.resume(), STOP_MS);
    return false;
  };
  // Into one buffer: what this process spends is time of the sidecar.
  const socket = connect({ port, host: '127.0.0.1', onread: { buffer: Buffer.alloc(CHUNK.length), callback } });
  socket.once('error', reject).once('close', () => reject(new Error('cut')));
  socket.write(get('big', `/${bytes}`));
  await promise;
  socket.destroy();
}

async function upload(port: number, bytes: number): Promise<void> {
  using client = await openClient(port);
  await send(client.socket, `POST /${bytes} HTTP/1.1\r\nHost: big\r\nContent-Length: ${bytes}\r\n\r\n`, bytes);
  const { status, body } = await client.answer('POST', 60_000);
  expect([status, body.toString()]).toEqual([200, 'done']);
}

/** By how much the most memory of each sidecar during `work` is above that before it. */
async function growth(sidecars: readonly Weft[], work: Promise<void>): Promise<number[]> {
  const before = sidecars.map(({ pid }) => residentBytes(pid));
  const most = [...before];
  const look = (): void => sidecars.forEach(({ pid }, i) => (most[i] = Math.max(most[i] ?? 0, residentBytes(pid))));
  const watch = setInterval(look, 20);
  await work.finally(() => clearInterval(watch));
  look();
  return most.map((bytes, i) => bytes - (before[i] ?? 0));
}

function report(what: string, grown: readonly number[]): void {
  console.log(`${what}: RSS +${grown.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' and +')} MB`);
  for (const bytes of grown) expect(bytes).toBeLessThanOrEqual(MOST_GROWTH);
}

describe('slow readers raise the memory of a sidecar by at most 20 MB', { timeout: 60_000 }, () => {
  test('with 1 GiB down and 1 GiB up at once, in plain text', async () => {
    report('2 GiB, plain', await growth([hop], bothWays(hop.ports.outbound, GIB)));
  });

  test('with 1 GiB down through two sidecars with mutual TLS', async () => {
    report('1 GiB down, mutual TLS', await growth([caller, callee], download(caller.ports.outbound, GIB)));
  });

  test('with 1 GiB up through two sidecars with mutual TLS', async () => {
    report('1 GiB up, mutual TLS', await growth([caller, callee], upload(caller.ports.outbound, GIB)));
  });
});

async function bothWays(port: number, bytes: number): Promise<void> {
  await Promise.all([download(port, bytes), upload(port, bytes)]);
}
