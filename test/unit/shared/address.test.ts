import { describe, expect, it } from 'vitest';
import { Cidr, canonicalIp, formatHostPort, parseHostPort, parseIp } from '../../../shared/address.ts';

describe('addresses have one spelling', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::1', '::1'],
    ['::', '::'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:0:0:0:1', '2001:db8:0:1::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('%s is written %s', (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4.5',
    '1::2::3',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'fe80::1%eth0',
    '::1.2.3',
    '1.2.3.4::',
    'g::',
  ])('%j is no address', (text) => {
    expect(canonicalIp(text)).toBeNull();
  });
});

describe('host and port', () => {
  it.each([
    ['127.0.0.1:80', '127.0.0.1', 80],
    ['[::]:15006', '::', 15006],
    ['[0:0::1]:0', '::1', 0],
    ['catalog.shop:8080', 'catalog.shop', 8080],
  ])('%s are %s and %d', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
  });

  it.each(['', ':80', '::1:80', '[::1]', '[127.0.0.1]:80', 'a:b', 'a:65536', 'a b:1', 'u@h:1', '1.2.3:4', '[zz::]:1'])(
    '%j are none',
    (text) => {
      expect(parseHostPort(text)).toBeNull();
    },
  );

  it('are written so that they read the same', () => {
    for (const text of ['127.0.0.1:80', '[::1]:80', 'a:1']) {
      const { host, port } = parseHostPort(text) ?? { host: '', port: -1 };
      expect(formatHostPort(host, port)).toBe(text);
    }
  });
});

describe('address blocks', () => {
  const contains = (block: string, address: string): boolean | undefined =>
    Cidr.parse(block)?.contains(parseIp(address) as Uint8Array);

  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.128/25', '10.0.0.127', false],
    ['10.0.0.128/25', '10.0.0.200', true],
    ['0.0.0.0/0', '8.8.8.8', true],
    ['0.0.0.0/0', '::1', false],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe00::1', false],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
  ])('%s and %s: %s', (block, address, inside) => {
    expect(contains(block, address)).toBe(inside);
  });

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    'fd00::/129',
    'host/8',
    '10.0.0.0/',
    '::ffff:10.0.0.0/90',
  ])('%j is none', (text) => {
    expect(Cidr.parse(text)).toBeNull();
  });
});
