import { describe, expect, it } from 'vitest';
import { splitDocuments } from '../../../proxy/config/split.ts';

function parts(text: string): [number, string][] {
  return splitDocuments(text).map((part) => [part.linesBefore, part.text]);
}

describe('a stream is parted', () => {
  it.each<[string, [number, string][]]>([
    ['', [[0, '']]],
    ['a: 1\n', [[0, 'a: 1\n']]],
    ['---\na: 1\n', [[0, '---\na: 1\n']]],
    [
      'a: 1\n---\nb: 2\n',
      [
        [0, 'a: 1\n'],
        [1, '---\nb: 2\n'],
      ],
    ],
    [
      '# c\n\n--- # d\na: 1\n---',
      [
        [0, '# c\n\n'],
        [2, '--- # d\na: 1\n'],
        [4, '---'],
      ],
    ],
    [
      'a: 1\r\n---\r\nb: 2\r\n',
      [
        [0, 'a: 1\r\n'],
        [1, '---\r\nb: 2\r\n'],
      ],
    ],
    ['a: |\n  ---\n ---\n', [[0, 'a: |\n  ---\n ---\n']]],
    ['a: 1\n---b: 2\n----\n', [[0, 'a: 1\n---b: 2\n----\n']]],
  ])('%j', (text, expected) => {
    expect(parts(text)).toEqual(expected);
  });

  it.each([
    '%YAML 1.2\n---\na: 1\n---\nb: 2\n',
    'a: 1\n...\n---\nb: 2\n',
    '...\n---\na: 1\n',
    'a: 1\n%TAG ! x\n---\nb: 2\n',
  ])('not where directives or document ends stand: %j', (text) => {
    expect(parts(text)).toEqual([[0, text]]);
  });
});
