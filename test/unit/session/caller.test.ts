import { expect, test } from 'vitest';
import { plainAddress } from '../../../proxy/session/caller.ts';

test.each([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['::1', '::1'],
  ['fe80::1', 'fe80::1'],
  ['::ffff:a00:1', '::ffff:a00:1'],
  [undefined, ''],
])('the peer address %s is written as %s', (address, text) => {
  expect(plainAddress(address)).toBe(text);
});
