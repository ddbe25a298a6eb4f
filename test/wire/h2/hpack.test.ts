/** RFC 7541: every example of appendix C, and what section by section must not decode. */
import { describe, expect, it } from 'vitest';
import { hpackInteger } from '../../../proxy/http/h2-names.ts';
import { HpackDecoder } from '../../../proxy/http/hpack-decoder.ts';

const LIMITS = { listBytes: 65_536, fields: 200, runs: 4 };

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
}

function decodeWith(decoder: HpackDecoder, hex: string): string[] | null {
  const input = bytes(hex);
  if (!decoder.decode(input, 0, input.length)) return null;
  return Array.from({ length: decoder.count }, (_, at) => `${decoder.names[at]?.text}: ${decoder.values[at]}`);
}

function decode(hex: string): string[] | null {
  return decodeWith(new HpackDecoder(LIMITS), hex);
}

const FIRST_REQUEST = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
const SECOND_REQUEST = [...FIRST_REQUEST, 'cache-control: no-cache'];
const THIRD_REQUEST = [
  ':method: GET',
  ':scheme: https',
  ':path: /index.html',
  ':authority: www.example.com',
  'custom-key: custom-value',
];
const FIRST_RESPONSE = [
  ':status: 302',
  'cache-control: private',
  'date: Mon, 21 Oct 2013 20:13:21 GMT',
  'location: https://www.example.com',
];
const SECOND_RESPONSE = [':status: 307', ...FIRST_RESPONSE.slice(1)];
const THIRD_RESPONSE = [
  ':status: 200',
  'cache-control: private',
  'date: Mon, 21 Oct 2013 20:13:22 GMT',
  'location: https://www.example.com',
  'content-encoding: gzip',
  'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
];

describe('HPACK as RFC 7541 appendix C shows it', () => {
  it.each([
    ['C.1.1', 0, 5, 10, '0a'],
    ['C.1.2', 0, 5, 1337, '1f9a0a'],
    ['C.1.3', 0, 8, 42, '2a'],
  ])('%s: encodes the integer', (_section, pattern, bits, value, hex) => {
    expect(Buffer.from(hpackInteger(pattern, bits, value), 'latin1').toString('hex')).toBe(hex);
  });

  it.each([
    ['C.2.1', '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key: custom-header']],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', [':path: /sample/path']],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password: secret']],
    ['C.2.4', '82', [':method: GET']],
  ])('%s: decodes the field', (_section, hex, expected) => {
    expect(decode(hex)).toEqual(expected);
  });

  it.each([
    [
      'C.3: requests without Huffman code',
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
    [
      'C.4: requests with Huffman code',
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  ])('%s', (_section, first, second, third) => {
    const decoder = new HpackDecoder(LIMITS);
    expect(decodeWith(decoder, first)).toEqual(FIRST_REQUEST);
    expect(decodeWith(decoder, second)).toEqual(SECOND_REQUEST);
    expect(decodeWith(decoder, third)).toEqual(THIRD_REQUEST);
  });

  it.each([
    [
      'C.5: responses without Huffman code, evicting from a table of 256 bytes',
      '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '4803 3330 37c1 c0bf',
      '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
    ],
    [
      'C.6: responses with Huffman code, evicting from a table of 256 bytes',
      '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
      '4883 640e ffc1 c0bf',
      '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
    ],
  ])('%s', (_section, first, second, third) => {
    const decoder = new HpackDecoder(LIMITS);
    decoder.limitTable(256);
    expect(decodeWith(decoder, first)).toEqual(FIRST_RESPONSE);
    expect(decodeWith(decoder, second)).toEqual(SECOND_RESPONSE);
    expect(decodeWith(decoder, third)).toEqual(THIRD_RESPONSE);
    // Index 62 to 65 are what C.5.3 and C.6.3 leave: four fields of 215 bytes do not fit, three do.
    expect(decodeWith(decoder, 'be')).toEqual([THIRD_RESPONSE[5]]);
    expect(decodeWith(decoder, 'bf')).toEqual([THIRD_RESPONSE[4]]);
    expect(decodeWith(decoder, 'c0')).toEqual([THIRD_RESPONSE[2]]);
    expect(decodeWith(decoder, 'c1')).toBeNull();
  });
});

describe('HPACK refuses', () => {
  it.each([
    ['index 0', '80'],
    ['an index beyond both tables', 'be'],
    ['a name index beyond both tables', '7f00 0161'],
    ['an integer that ends with the block', '82ff'],
    ['an integer of more than four continuation bytes', 'ff80 8080 8080 01'],
    ['a string that ends with the block', '0003 6162'],
    ['a literal without a value', '0001 61'],
    ['a table size update after a field', '8220'],
    ['a table size update beyond what we announced', '3fe2 1f'],
    ['Huffman padding of eight bits', '0085 f2b2 4a84 ff84 4950 9fff'],
    ['Huffman padding that is not ones', '0085 f2b2 4a84 ff83 4950 90'],
    ['the Huffman code of EOS', '0001 6184 ffff ffff'],
  ])('%s', (_what, hex) => {
    expect(decode(hex)).toBeNull();
  });

  it('references to fields that left the table when our limit was acknowledged', () => {
    const decoder = new HpackDecoder(LIMITS);
    expect(decodeWith(decoder, '4001 6101 62')).toEqual(['a: b']);
    expect(decodeWith(decoder, 'be')).toEqual(['a: b']);
    decoder.limitTable(0);
    expect(decodeWith(decoder, 'be')).toBeNull();
  });

  it('nothing of a block that begins with several table size updates', () => {
    expect(decode('20 3fe1 1f 82')).toEqual([':method: GET']);
  });
});

describe('HPACK limits', () => {
  it('follows the table through a block that is too large, and keeps nothing of the rest', () => {
    const decoder = new HpackDecoder({ listBytes: 65_536, fields: 2, runs: 4 });
    expect(decodeWith(decoder, '82 84 86 4001 6101 62')).toEqual([':method: GET', ':path: /']);
    expect(decoder.tooLarge).toBe(true);
    expect(decodeWith(decoder, 'be')).toEqual(['a: b']);
    expect(decoder.tooLarge).toBe(false);
  });

  it('counts 32 bytes for each field beside its text', () => {
    const decoder = new HpackDecoder({ listBytes: 42, fields: 9, runs: 4 });
    decodeWith(decoder, '82');
    expect(decoder.tooLarge).toBe(false);
    decodeWith(decoder, '83');
    expect(decoder.tooLarge).toBe(true);
  });
});
