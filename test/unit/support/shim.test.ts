import { expect, test } from 'vitest';
import { startRawBackend } from '../../support/backend.ts';
import { openClient } from '../../support/client.ts';
import { type Slicing, startShim } from '../../support/shim.ts';

const MESSAGE = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 251));

test.each<Slicing>(['whole', 'byte', 'random'])(
  'cut as %s, the same bytes arrive both ways, then both ends',
  async (slicing) => {
    const pieces: number[] = [];
    await using backend = await startRawBackend((socket, received) => {
      pieces.push(received.length);
      if (received.length === MESSAGE.length) socket.end(received);
    });
    await using shim = await startShim({ targetPort: backend.port, slicing, random: () => 0.3 });
    using client = await openClient(shim.port);
    await client.write(MESSAGE);
    expect(await client.ended).toBe('fin');
    expect(client.received).toEqual(MESSAGE);
    expect(pieces.length).toBeGreaterThanOrEqual({ whole: 1, byte: 100, random: 5 }[slicing]);
  },
);

test('a stalled shim passes nothing on until it flows again', async () => {
  await using backend = await startRawBackend((socket, received) => socket.write(received));
  await using shim = await startShim({ targetPort: backend.port });
  using client = await openClient(shim.port);
  await client.write('a');
  await client.until(() => (client.text === 'a' ? true : undefined));
  shim.stall();
  await client.write('b');
  await expect(client.until(() => (client.text === 'aab' ? true : undefined), 30)).rejects.toThrow('not within 30 ms');
  shim.flow();
  await client.until(() => (client.text === 'aab' ? true : undefined));
  expect(shim.connections).toBe(1);
});

test('a reset reaches both ends, and so does the end of an upstream', async () => {
  await using backend = await startRawBackend((socket, received) => {
    if (received.toString() === 'end') socket.resetAndDestroy();
    else socket.write(received);
  });
  await using shim = await startShim({ targetPort: backend.port });
  using client = await openClient(shim.port);
  await client.write('a');
  await client.until(() => (client.text === 'a' ? true : undefined));
  shim.resetAll();
  expect(await client.ended).toBe('reset');
  using other = await openClient(shim.port);
  await other.write('end');
  expect(await other.ended).toBe('reset');
});
