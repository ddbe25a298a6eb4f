import { once } from 'node:events';
import { expect, test } from 'vitest';
import { resetTls } from '../../../proxy/net/reset-tls.ts';
import { tlsEnds } from './sockets.ts';

test.each(['near', 'far'] as const)(
  'the far side of a TLS connection sees a reset, and the own side closes (%s)',
  async (side) => {
    using pair = await tlsEnds();
    const other = pair[side === 'near' ? 'far' : 'near'];
    const failed = once(other, 'error') as Promise<[NodeJS.ErrnoException]>;
    const closed = once(pair[side], 'close');
    const seen = once(pair[side], 'data');
    pair[side].resume();
    other.resume().write('x');
    await seen;
    resetTls(pair[side]);
    expect((await failed)[0].code).toBe('ECONNRESET');
    await closed;
  },
);

test('a connection that is closed already is left alone', async () => {
  using pair = await tlsEnds();
  pair.near.destroy();
  expect(() => resetTls(pair.near)).not.toThrow();
});
