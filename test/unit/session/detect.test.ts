import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { detect, detectServer } from '../../../proxy/session/detect.ts';
import { readRecord } from '../net/sockets.ts';

function protocolOf(text: string): string {
  return detect(Buffer.from(text, 'latin1')).protocol;
}

/** The first flight of Node's own TLS client. */
async function clientHello(options: { servername?: string; ALPNProtocols?: string[] }): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ...options });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [import('node:net').Socket];
  const hello = await readRecord(socket);
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

test.each([
  ['GET / HTTP/1.1\r\n', 'h1'],
  ['OPTIONS *', 'h1'],
  ['M-SEARCH * HTTP/1.1', 'more'],
  ['M-SEARCH * HTTP/1.1\r\n', 'h1'],
  ['PURGE /x http/1.0\n', 'h1'],
  ['GET /', 'h1'],
  ['get key', 'more'],
  ['get key\r\n', 'opaque'],
  ['NICK me\r\n', 'opaque'],
  ['SSH-2.0-OpenSSH_9.2\r\n', 'opaque'],
  ['\r\nGET / HTTP/1.1', 'h1'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'h2'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r', 'more'],
  ['PRI * HTTP/1.1\r\n', 'h1'],
  ['P', 'more'],
  ['GE', 'more'],
  ['', 'more'],
  ['\r', 'more'],
  ['\r\n', 'more'],
  ['\r\n\r\n', 'more'],
  ['\r\n\r\nGET', 'more'],
  ['\r\n\r\nGET ', 'h1'],
  ['\r\n\r\n\0\r\nQUIT\n', 'proxy'],
  ['PROXY', 'more'],
  ['PROXY ', 'proxy'],
  ['PROXYFIND / HTTP/1.1\n', 'h1'],
  [' GET', 'more'],
  [' GET ', 'h1'],
  ['\n \t', 'more'],
  [' '.repeat(8193), 'h1'],
  // The length that MongoDB's messages begin with, a field of protobuf, and others' first bytes.
  [' \x01\x00\x00\x01\x00\x00\x00', 'opaque'],
  ['\x0a\x05hello\x12\x00', 'opaque'],
  ['\x0aHello\x00', 'opaque'],
  ['\x85\x00\x00\x00', 'opaque'],
  [' \x01GET / HTTP/1.1\r\n', 'opaque'],
  ['\x01GET / HTTP/1.1\r\n', 'opaque'],
  ['220 smtp.example ESMTP\r\n', 'opaque'],
  ['*1\r\n$4\r\nPING\r\n', 'opaque'],
  ['\x00\x00\x00', 'opaque'],
  ['A'.repeat(8192), 'more'],
  ['A'.repeat(8193), 'h1'],
  ['PING\n', 'opaque'],
  ['GET\t/ HTTP/1.1\n', 'h1'],
  ['\x16', 'more'],
  ['\x16\x03\x01', 'more'],
  ['\x16\x04', 'opaque'],
  ['\x16\x03\x01\x00\x00', 'opaque'],
  ['\x16\x03\x01\x00\x04\x02\x00\x00\x00', 'opaque'],
  ['\x16\x03\x01\x00\x04\x01\xff\xff\xff', 'opaque'],
  ['\x15\x03\x01\x00\x02\x01\x00', 'opaque'],
])('the first bytes %j are %s', (text, protocol) => {
  expect(protocolOf(text)).toBe(protocol);
});

test.each([
  ['220 smtp.example ESMTP\r\n', 'opaque'],
  ['J\x00\x00\x00\x0a8.0', 'opaque'],
  ['SSH-2.0-OpenSSH', 'opaque'],
  ['HTTP', 'more'],
  ['HTTP/', 'http'],
  ['HTTPS', 'opaque'],
  ['\x00\x00\x00\x04\x00\x00\x00\x00', 'more'],
  ['\x00\x00\x00\x04\x00\x00\x00\x00\x00', 'http'],
  ['\x00\x01\x80\x04\x00\x00\x00\x00\x00\x03', 'http'],
  ['\x00\x00\x00\x04\x01\x00\x00\x00\x00', 'opaque'],
  ['\x00\x00\x00\x06', 'opaque'],
  ['', 'more'],
])('a server that begins with %j is %s', (text, protocol) => {
  expect(detectServer(Buffer.from(text, 'latin1'))).toBe(protocol);
});

describe('a ClientHello', () => {
  let hello: Buffer;
  beforeAll(async () => {
    hello = await clientHello({ servername: 'Shop.Example', ALPNProtocols: ['istio-http/1.1', 'istio'] });
  });

  test('tells its server name, lower case, and its ALPN', () => {
    expect(detect(hello)).toEqual({ protocol: 'tls', serverName: 'shop.example', alpn: ['istio-http/1.1', 'istio'] });
  });

  test('without either tells none', async () => {
    expect(detect(await clientHello({}))).toEqual({ protocol: 'tls', serverName: '', alpn: [] });
  });

  test('is not decided before its last byte, and the same with bytes behind it', () => {
    for (let length = 0; length < hello.length; length++) {
      expect(detect(hello.subarray(0, length)).protocol).toBe('more');
    }
    expect(detect(Buffer.concat([hello, Buffer.from('rest')]))).toEqual(detect(hello));
  });

  test('in several records is read all the same, and in too many is none', () => {
    const body = hello.subarray(5);
    const inRecords = (count: number): Buffer => {
      const size = Math.ceil(body.length / count);
      const parts = Array.from({ length: count }, (_, i) => body.subarray(i * size, (i + 1) * size));
      return Buffer.concat(
        parts.flatMap((part) => [Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]),
      );
    };
    expect(detect(inRecords(4))).toEqual(detect(hello));
    expect(detect(inRecords(64)).protocol).toBe('opaque');
  });

  test('whose inside is damaged is still TLS, or not one; it never throws', () => {
    fc.assert(
      fc.property(fc.nat(hello.length - 10), fc.nat(255), (at, value) => {
        const damaged = Buffer.from(hello);
        damaged[at + 9] = value;
        expect(['tls', 'more', 'opaque']).toContain(detect(damaged).protocol);
      }),
      { numRuns: 500, seed: 3 },
    );
  });
});

test('any bytes are judged without an exception, and a decision stays when more bytes come', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 10 }), (first, more) => {
      const before = detect(Buffer.from(first)).protocol;
      const after = detect(Buffer.from([...first, ...more])).protocol;
      if (before !== 'more') expect(after).toBe(before);
    }),
    { numRuns: 1_000, seed: 5 },
  );
});

test.each([
  'PROPFIND /\u0001 HTTP/1.1\r\nHost: a\r\n\r\n',
  'PURGE /\u0000 HTTP/1.1\r\n\r\n',
  'MOVE / HTTP/+1.1\r\n\r\n',
])('a request line that some server would take is HTTP, for its parser to refuse: %j', (line) => {
  expect(detect(Buffer.from(line, 'latin1')).protocol).toBe('h1');
});

test('a word with control bytes behind it and no blank is opaque at once', () => {
  expect(detect(Buffer.from('abc\u0000\u0001', 'latin1')).protocol).toBe('opaque');
});
