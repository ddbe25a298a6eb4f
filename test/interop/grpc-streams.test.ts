/** Long streams of large messages: what a sidecar holds of them is bounded by its windows. */
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { meshed, plain, residentBytes, TinyMesh } from '../integration/mesh.ts';
import type { Weft } from '../support/weft.ts';
import { EchoCaller, EchoServer, withMetadata } from './grpc-echo.ts';

const MIB = 2 ** 20;
const MESSAGE = Buffer.alloc(MIB, 'm');
const MESSAGES = 100;
const MOST_GROWTH = 20 * MIB;

const mesh = new TinyMesh();
const app = new EchoServer();
let hop: Weft;
let caller: Weft;
let callee: Weft;

beforeAll(async () => {
  mesh.own(app);
  await app.listen();
  callee = await mesh.start({ account: 'echo', app: app.port });
  caller = await mesh.start({
    account: 'caller',
    documents: meshed({ name: 'echo', endpoints: [callee.ports.inbound], appProtocol: 'grpc' }),
  });
  hop = await mesh.start({
    account: 'hop',
    documents: plain({ name: 'echo', endpoints: [app.port], appProtocol: 'grpc' }),
  });
  // Code is loaded and buffers are grown before anything is measured.
  for (const { ports } of [hop, caller]) {
    using echo = new EchoCaller(ports.outbound, 'echo');
    await echo.upload(Array.from({ length: 40 }, () => MESSAGE));
    const metadata = withMetadata({ 'x-messages': '40', 'x-size': String(MIB) });
    await echo.download(Buffer.alloc(1), { metadata, onMessage: () => undefined });
  }
});
afterAll(() => mesh[Symbol.asyncDispose]());

describe('100 MB raise the memory of a sidecar by at most 20 MB', { timeout: 40_000 }, () => {
  test.each(['one plain hop', 'two sidecars with mutual TLS'])(
    'as a stream of messages, each way, through %s',
    async (through) => {
      const sidecars = through === 'one plain hop' ? [hop] : [caller, callee];
      using echo = new EchoCaller((sidecars[0] as Weft).ports.outbound, 'echo');
      const grown = await growth(sidecars, async () => {
        const up = await echo.upload(Array.from({ length: MESSAGES }, () => MESSAGE));
        expect({ code: up.code, told: String(up.messages[0]) }).toEqual({
          code: status.OK,
          told: String(MESSAGES * MIB),
        });
        let bytes = 0;
        const metadata = withMetadata({ 'x-messages': String(MESSAGES), 'x-size': String(MIB) });
        const onMessage = (message: Buffer): void => void (bytes += message.length);
        const down = await echo.download(Buffer.alloc(1), { metadata, onMessage });
        expect({ code: down.code, bytes }).toEqual({ code: status.OK, bytes: MESSAGES * MIB });
      });
      report(`100 MB each way, ${through}`, grown);
    },
  );

  test('as one message, each way, through two sidecars with mutual TLS', async () => {
    using echo = new EchoCaller(caller.ports.outbound, 'echo');
    const grown = await growth([caller, callee], async () => {
      const { code, messages } = await echo.unary(Buffer.alloc(MESSAGES * MIB, 'one message'));
      expect({ code, bytes: messages[0]?.length }).toEqual({ code: status.OK, bytes: MESSAGES * MIB });
    });
    report('one message of 100 MB', grown);
  });
});

/** By how much the most memory of each sidecar during `work` is above that before it. */
async function growth(sidecars: readonly Weft[], work: () => Promise<void>): Promise<number[]> {
  const before = sidecars.map(({ pid }) => residentBytes(pid));
  const most = [...before];
  const look = (): void => sidecars.forEach(({ pid }, i) => (most[i] = Math.max(most[i] ?? 0, residentBytes(pid))));
  const watch = setInterval(look, 20);
  await work().finally(() => clearInterval(watch));
  look();
  return most.map((bytes, i) => bytes - (before[i] ?? 0));
}

function report(what: string, grown: readonly number[]): void {
  console.log(`${what}: RSS +${grown.map((bytes) => (bytes / MIB).toFixed(1)).join(' and +')} MB`);
  for (const bytes of grown) expect(bytes).toBeLessThanOrEqual(MOST_GROWTH);
}
