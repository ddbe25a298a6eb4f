import { expect, test } from 'vitest';
import { giveBack, takeBuffer } from '../../../shared/spare-buffers.ts';

test('a buffer that was given back is taken again, by size, and by one at a time', () => {
  const [small, large] = [takeBuffer(16_384), takeBuffer(65_536)];
  giveBack(small);
  giveBack(large);
  expect(takeBuffer(65_536)).toBe(large);
  expect(takeBuffer(65_536)).not.toBe(large);
  expect(takeBuffer(16_384)).toBe(small);
});

test('no more than 4 MB are kept, and no buffer above 256 KB', () => {
  const large = takeBuffer(524_288);
  giveBack(large);
  expect(takeBuffer(524_288)).not.toBe(large);
  const many = Array.from({ length: 100 }, () => takeBuffer(65_536));
  for (const buffer of many) giveBack(buffer);
  const again = new Set(Array.from({ length: 100 }, () => takeBuffer(65_536)));
  expect(many.filter((buffer) => again.has(buffer)).length).toBe(64);
});
