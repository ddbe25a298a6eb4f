import { expect, test } from 'vitest';
import { readLatin1, writeLatin1 } from '../../../shared/latin1.ts';

test('every byte is the character of the same number, both ways', () => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const text = readLatin1(all, 0, 256);
  expect(Array.from(all, (_, at) => text.charCodeAt(at))).toEqual([...all]);
  const copy = Buffer.alloc(260);
  expect(writeLatin1(copy, text, 3)).toBe(256);
  expect(copy.subarray(3, 259).equals(all)).toBe(true);
});

test('a part is read from start to end', () => {
  expect(readLatin1(Buffer.from('0123456789'), 2, 5)).toBe('234');
});

test('what does not fit is not written', () => {
  const small = Buffer.alloc(4);
  expect(writeLatin1(small, 'abcdef', 1)).toBe(3);
  expect(small.toString()).toBe('\0abc');
});
