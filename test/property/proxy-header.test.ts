import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detect } from '../../proxy/session/detect.ts';
import { readProxyHeader } from '../../proxy/session/proxy-header.ts';

const RUNS = { numRuns: 300, seed: 8 };
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

interface Written {
  readonly bytes: Buffer;
  readonly source: { address: string; port: number } | null;
}

const port = fc.integer({ min: 0, max: 65_535 });
const ipv4 = fc.ipV4();

const line: fc.Arbitrary<Written> = fc.record({ source: ipv4, destination: ipv4, from: port, to: port }).map((it) => ({
  bytes: Buffer.from(`PROXY TCP4 ${it.source} ${it.destination} ${it.from} ${it.to}\r\n`),
  source: { address: it.source, port: it.from },
}));

const tlvs = fc
  .array(fc.tuple(fc.integer({ min: 0xe0, max: 0xef }), fc.uint8Array({ maxLength: 60 })), { maxLength: 5 })
  .map((list) => Buffer.concat(list.map(([type, value]) => Buffer.from([type, 0, value.length, ...value]))));

const binary: fc.Arbitrary<Written> = fc.record({ source: ipv4, from: port, tlvs }).map((it) => {
  const addresses = Buffer.alloc(12);
  Buffer.from(it.source.split('.').map(Number)).copy(addresses);
  addresses.writeUInt16BE(it.from, 8);
  return {
    bytes: version2(0x21, 0x11, Buffer.concat([addresses, it.tlvs])),
    source: { address: it.source, port: it.from },
  };
});

function version2(command: number, family: number, body: Buffer): Buffer {
  return Buffer.concat([SIGNATURE, Buffer.from([command, family, body.length >> 8, body.length & 0xff]), body]);
}

test('a header is whole at its last byte and no earlier, whatever follows it', () => {
  fc.assert(
    fc.property(fc.oneof(line, binary), fc.uint8Array({ maxLength: 40 }), ({ bytes, source }, rest) => {
      for (let length = 0; length < bytes.length; length++) {
        expect(readProxyHeader(bytes.subarray(0, length)).state).toBe('more');
      }
      expect(readProxyHeader(Buffer.concat([bytes, rest]))).toEqual({ state: 'whole', length: bytes.length, source });
    }),
    RUNS,
  );
});

test('any damage leaves a header that is read, refused or incomplete, never an exception, and a decision stays', () => {
  fc.assert(
    fc.property(fc.oneof(line, binary), fc.nat(), fc.integer({ min: 0, max: 255 }), ({ bytes }, at, value) => {
      const damaged = Buffer.from(bytes);
      damaged[at % damaged.length] = value;
      let decided: string | null = null;
      for (let length = 1; length <= damaged.length; length++) {
        const part = damaged.subarray(0, length);
        if (detect(part).protocol !== 'proxy') continue;
        const { state } = readProxyHeader(part);
        if (decided !== null) expect(state).toBe(decided);
        if (state !== 'more') decided = state;
      }
    }),
    RUNS,
  );
});

describe('version 1', () => {
  const read = (text: string): unknown => {
    const header = readProxyHeader(Buffer.from(text, 'latin1'));
    return header.state === 'whole' ? header.source : header.state;
  };

  test.each([
    ['PROXY TCP4 10.0.0.1 10.0.0.2 1 65535\r\n', { address: '10.0.0.1', port: 1 }],
    ['PROXY TCP6 2001:DB8::0:1 ::1 443 80\r\n', { address: '2001:db8::1', port: 443 }],
    ['PROXY TCP6 ::ffff:10.0.0.1 ::1 443 80\r\n', { address: '10.0.0.1', port: 443 }],
    ['PROXY UNKNOWN\r\n', null],
    ['PROXY UNKNOWN whatever it knows\r\n', null],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n', 'malformed'],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n', 'malformed'],
    ['PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n', 'malformed'],
    ['PROXY TCP4 ::1 10.0.0.2 1 2\r\n', 'malformed'],
    ['PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n', 'malformed'],
    ['PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n', 'malformed'],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n', 'malformed'],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n', 'malformed'],
    ['PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n', 'malformed'],
    ['PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n', 'malformed'],
    ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n', 'more'],
    [`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`, null],
    [`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, 'malformed'],
  ])('%j is %j', (text, expected) => {
    expect(read(text)).toEqual(expected);
  });
});

describe('version 2', () => {
  const ADDRESSES = Buffer.from([10, 0, 0, 1, 10, 0, 0, 2, 0, 5, 0, 80]);

  test('of IPv6 tells the address in its own form', () => {
    const addresses = Buffer.alloc(36);
    addresses.set([0x20, 0x01, 0x0d, 0xb8], 0);
    addresses[15] = 7;
    addresses.writeUInt16BE(1234, 32);
    expect(readProxyHeader(version2(0x21, 0x21, addresses))).toMatchObject({
      source: { address: '2001:db8::7', port: 1234 },
    });
  });

  test('LOCAL, and of no family, tells no source', () => {
    expect(readProxyHeader(version2(0x20, 0x00, Buffer.alloc(7)))).toMatchObject({ state: 'whole', source: null });
    expect(readProxyHeader(version2(0x21, 0x00, Buffer.alloc(0)))).toMatchObject({ state: 'whole', source: null });
  });

  test.each([
    ['another version', version2(0x11, 0x11, ADDRESSES)],
    ['another command', version2(0x22, 0x11, ADDRESSES)],
    ['UDP', version2(0x21, 0x12, ADDRESSES)],
    ['a UNIX socket', version2(0x21, 0x31, Buffer.alloc(216))],
    ['addresses that are cut', version2(0x21, 0x11, ADDRESSES.subarray(1))],
    ['a TLV that is cut', version2(0x21, 0x11, Buffer.concat([ADDRESSES, Buffer.from([1, 0])]))],
    ['a TLV beyond the end', version2(0x21, 0x11, Buffer.concat([ADDRESSES, Buffer.from([1, 0, 2, 0])]))],
    ['a wrong checksum', version2(0x21, 0x11, Buffer.concat([ADDRESSES, Buffer.from([3, 0, 4, 1, 2, 3, 4])]))],
    ['more than 4 KB', version2(0x21, 0x11, Buffer.alloc(4_097))],
  ])('with %s is refused', (_what, bytes) => {
    expect(readProxyHeader(bytes).state).toBe('malformed');
  });

  test('with the right checksum is read', () => {
    // CRC-32C of this header with four zeros in its place, computed apart from the code under test.
    const bytes = version2(0x21, 0x11, Buffer.concat([ADDRESSES, Buffer.from([3, 0, 4, 0, 0, 0, 0])]));
    bytes.writeUInt32BE(CHECKSUM, bytes.length - 4);
    expect(readProxyHeader(bytes)).toMatchObject({ state: 'whole', source: { address: '10.0.0.1', port: 5 } });
  });
});

const CHECKSUM = 0x1753_4284;
