/**
 * Who ends a tunnel, how, and in which state: 24 cases, each in clear text and through a pair of sidecars with mutual TLS,
 * as it is, with every hop cut into single bytes, and at random places.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../shared/random.ts';
import { openClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { Heard } from '../support/heard.ts';
import { type Slicing, startShim } from '../support/shim.ts';
import { meshed, plain, TinyMesh } from './mesh.ts';

const SLICINGS: readonly Slicing[] = ['whole', 'random', 'byte'];
/** Bytes in flight: more than all buffers on the way where it costs nothing. */
const IN_FLIGHT: Readonly<Record<Slicing, number>> = { whole: 8_000_000, random: 60_000, byte: 3_000 };

const STATES = [
  'before a byte has passed',
  'after an exchange',
  'with its own bytes in flight',
  'with bytes for it in flight',
  'with bytes in flight both ways',
  'while the other side does not read',
] as const;
type State = (typeof STATES)[number];

const CASES = (['caller', 'application'] as const).flatMap((who) =>
  (['FIN', 'RST'] as const).flatMap((how) => STATES.map((state) => ({ who, how, state }))),
);

const mesh = new TinyMesh();
const app = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  const application = new Heard(socket);
  const wanted = waiting.shift();
  // A dial that met a reset before it was done is made again.
  if (wanted === undefined) socket.resetAndDestroy();
  else wanted(application);
});
const waiting: ((application: Heard) => void)[] = [];
const open: Socket[] = [];
/** Port of the outbound listener, or of the shim before it. */
const outbound = new Map<Slicing, number>();

beforeAll(async () => {
  await once(app.listen(0, '127.0.0.1'), 'listening');
  const random = new Random(8);
  const shimTo = async (targetPort: number, slicing: Slicing): Promise<number> =>
    slicing === 'whole'
      ? targetPort
      : mesh.own(await startShim({ targetPort, slicing, random: () => random.float() })).port;
  const { port } = app.address() as AddressInfo;
  const documents: string[] = [];
  for (const slicing of SLICINGS) {
    const behind = await shimTo(port, slicing);
    // Undeclared: the callee's sidecar finds out by itself that these bytes are opaque.
    const callee = await mesh.start({ account: `callee-${slicing}`, app: behind });
    documents.push(
      ...meshed({ name: `secure-${slicing}`, endpoints: [await shimTo(callee.ports.inbound, slicing)] }),
      ...plain({ name: `open-${slicing}`, endpoints: [behind] }),
    );
  }
  const caller = await mesh.start({ account: 'caller', documents });
  for (const slicing of SLICINGS) outbound.set(slicing, await shimTo(caller.ports.outbound, slicing));
}, 60_000);

afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  app.close();
});

/** Both ends of a new tunnel. */
async function tunnel(host: string, slicing: Slicing): Promise<{ caller: Heard; application: Heard }> {
  const { promise, resolve } = Promise.withResolvers<Heard>();
  waiting.push(resolve);
  const client = await openClient(outbound.get(slicing) ?? 0);
  await client.exchange(`CONNECT ${host}-${slicing}:80 HTTP/1.1\r\nHost: ${host}-${slicing}:80\r\n\r\n`, 'CONNECT');
  client.socket.removeAllListeners('data');
  const caller = new Heard(client.socket);
  const application = await promise;
  open.push(caller.socket, application.socket);
  return { caller, application };
}

/** Of no period that fits any buffer on the way: misplaced bytes show. */
const TILES = [65_521, 65_519].map((length, seed) =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 0xff)),
);

function pattern(length: number, seed: 0 | 1): Buffer {
  return Buffer.alloc(length, TILES[seed]);
}

async function arrives(at: Heard, expected: Buffer): Promise<void> {
  await eventually(`${expected.length} bytes`, () => at.length >= expected.length || undefined);
  expect(at.bytes.equals(expected)).toBe(true);
}

/** What each side has sent when the one ends; the other is reading unless the state says otherwise. */
async function enter(state: State, slicing: Slicing, ending: Heard, staying: Heard): Promise<[Buffer, Buffer]> {
  const large = pattern(IN_FLIGHT[slicing], 0);
  const other = pattern(IN_FLIGHT[slicing] + 1, 1);
  const nothing = Buffer.alloc(0);
  switch (state) {
    case 'before a byte has passed':
      return [nothing, nothing];
    case 'after an exchange': {
      const [ping, pong] = [Buffer.from('ping\n'), Buffer.from('pong\n')];
      ending.socket.write(ping);
      await arrives(staying, ping);
      staying.socket.write(pong);
      await arrives(ending, pong);
      return [ping, pong];
    }
    case 'with its own bytes in flight':
      ending.socket.write(large);
      return [large, nothing];
    case 'with bytes for it in flight':
      staying.socket.write(large);
      return [nothing, large];
    case 'with bytes in flight both ways':
      ending.socket.write(large);
      staying.socket.write(other);
      return [large, other];
    case 'while the other side does not read':
      staying.socket.pause();
      ending.socket.write(large);
      return [large, nothing];
  }
}

describe.each(SLICINGS)('bytes that pass %s', (slicing) => {
  describe.each(['open', 'secure'])('a tunnel to the %s Service', (host) => {
    test.each(CASES)('$who, $how, $state', async ({ who, how, state }) => {
      const ends = await tunnel(host, slicing);
      const ending = ends[who];
      const staying = who === 'caller' ? ends.application : ends.caller;
      const [sent, received] = await enter(state, slicing, ending, staying);
      if (how === 'FIN') {
        ending.socket.end();
        if (staying.socket.isPaused()) staying.socket.resume();
        await arrives(staying, sent);
        expect(await staying.untilEnd()).toBe('fin');
        // The other direction is as open as it was.
        staying.socket.end('and the last word');
        await arrives(ending, Buffer.concat([received, Buffer.from('and the last word')]));
        expect(await ending.untilEnd()).toBe('fin');
      } else {
        ending.socket.resetAndDestroy();
        if (staying.socket.isPaused()) staying.socket.resume();
        const end = await staying.untilEnd();
        // Where nothing has reached the application, its sidecar may not have been connected to it yet.
        if (who === 'application' || staying.length > 0) expect(end).toBe('reset');
        expect(staying.bytes.equals(sent.subarray(0, staying.length))).toBe(true);
      }
    });
  });
});
