/**
 * Protocols in which the server speaks first, on undeclared ports, through a pair of sidecars with mutual TLS; as it is,
 * with every hop cut into single bytes, and at random places.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../shared/random.ts';
import { openClient, type RawClient } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { type Slicing, startShim } from '../support/shim.ts';
import type { Weft } from '../support/weft.ts';
import { logLine, meshed, TinyMesh } from './mesh.ts';

const SLICINGS: readonly Slicing[] = ['whole', 'random', 'byte'];
const GREETING = '220 mail.example ESMTP\r\n';

const mesh = new TinyMesh();
/** A server as SMTP's: greets, then answers each line; answers HTTP where a request comes. */
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.write(GREETING);
  socket.on('data', (bytes: Buffer) => socket.write(`250 ${bytes.length}\r\n`));
});
const outbound = new Map<Slicing, number>();
let caller: Weft;

beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const random = new Random(8);
  const shimTo = async (targetPort: number, slicing: Slicing): Promise<number> =>
    slicing === 'whole'
      ? targetPort
      : mesh.own(await startShim({ targetPort, slicing, random: () => random.float() })).port;
  const documents: string[] = [];
  for (const slicing of SLICINGS) {
    const callee = await mesh.start({ account: `callee-${slicing}`, app: await shimTo(port, slicing) });
    documents.push(...meshed({ name: `mail-${slicing}`, endpoints: [await shimTo(callee.ports.inbound, slicing)] }));
  }
  caller = await mesh.start({ account: 'caller', flags: ['--access-log', 'json'], documents });
  for (const slicing of SLICINGS) outbound.set(slicing, await shimTo(caller.ports.outbound, slicing));
}, 60_000);

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
  server.close();
});

async function tunnel(slicing: Slicing): Promise<RawClient> {
  const client = await openClient(outbound.get(slicing) ?? 0);
  await client.exchange(`CONNECT mail-${slicing}:80 HTTP/1.1\r\nHost: mail-${slicing}:80\r\n\r\n`, 'CONNECT');
  return client;
}

describe.each(SLICINGS)('bytes that pass %s', (slicing) => {
  test('begin with the greeting, which nobody had to ask for, and go on as a dialogue', async () => {
    using client = await tunnel(slicing);
    const heard = (): string => client.text.slice(client.text.indexOf('\r\n\r\n') + 4);
    await client.until(() => heard() === GREETING || undefined);
    for (const line of ['EHLO me\r\n', 'MAIL FROM:<a@b>\r\n']) {
      const before = heard().length;
      await client.write(line);
      // Cut lines may be answered piece by piece.
      await client.until(() => sum(heard().slice(before)) === line.length || undefined);
    }
    client.close();
  });
});

/** Of the lengths in lines like `250 9`. */
function sum(text: string): number {
  const lines = text.split('\r\n').slice(0, -1);
  return lines.reduce((total, line) => total + Number(line.slice(4)), 0);
}

test('the log says who ended it, and nothing stays open', async () => {
  using client = await tunnel('whole');
  await client.until(() => client.text.endsWith(GREETING) || undefined);
  client.finish();
  await client.ended;
  const line = await logLine(caller, ({ sent_bytes: sent }) => sent === GREETING.length);
  expect(line).toMatchObject({ protocol: 'TCP', word: '', detail: 'the caller ended first', received_bytes: 0 });
  await eventually(
    'nothing is open',
    async () => (await caller.metric('weft_upstream_connections')) === 0 || undefined,
  );
});
