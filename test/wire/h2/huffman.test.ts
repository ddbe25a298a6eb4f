import { describe, expect, it } from 'vitest';
import { huffmanDecode } from '../../../proxy/http/huffman.ts';

function decode(hex: string): string | null {
  const input = Buffer.from(hex, 'hex');
  const out = Buffer.alloc(Math.ceil((input.length * 8) / 5));
  const length = huffmanDecode(input, 0, input.length, out, 0);
  return length < 0 ? null : out.toString('latin1', 0, length);
}

describe('the Huffman code', () => {
  it.each([
    ['f1e3c2e5f23a6ba0ab90f4ff', 'www.example.com'],
    ['a8eb10649cbf', 'no-cache'],
    ['25a849e95ba97d7f', 'custom-key'],
    ['6402', '302'],
    ['9d29ad171863c78f0b97c8e9ae82ae43d3', 'https://www.example.com'],
    ['', ''],
  ])('decodes %s', (hex, text) => {
    expect(decode(hex)).toBe(text);
  });

  it('decodes the codes of thirty bits', () => {
    // RFC 7541 appendix B: LF is 3ffffffc, CR 3ffffffd, 0x16 3ffffffe, each of 30 bits.
    const bits = `${(0x3ffffffc).toString(2)}${(0x3ffffffd).toString(2)}${(0x3ffffffe).toString(2)}`.padEnd(96, '1');
    const hex =
      bits
        .match(/.{8}/g)
        ?.map((byte) => Number.parseInt(byte, 2).toString(16).padStart(2, '0'))
        .join('') ?? '';
    expect(decode(hex)).toBe('\n\r\x16');
  });

  it.each([
    ['padding of a whole byte', '6402ff'],
    ['padding with a zero in it', '00'],
    ['EOS', '3fffffff'],
    ['EOS after a symbol', '07fffffffb'],
  ])('refuses %s', (_what, hex) => {
    expect(decode(hex)).toBeNull();
  });
});
