import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { descriptorOf, OriginalDestinations } from '../../../proxy/listener/original-destination.ts';
import { plainEnds } from '../net/sockets.ts';

const SOL_IP = 0;
const SOL_IPV6 = 41;
const ENOENT = 2;
const ENOPROTOOPT = 92;

interface Asked {
  readonly fd: number;
  readonly level: number;
  readonly option: number;
}

/** A kernel that answers every question alike. */
class Kernel {
  readonly asked: Asked[] = [];
  readonly told: string[] = [];
  private readonly answer: Buffer | number;

  constructor(answer: Buffer | number) {
    this.answer = answer;
  }

  originals(): OriginalDestinations {
    return new OriginalDestinations(
      (detail) => this.told.push(detail),
      (fd, level, option, value, length) => {
        this.asked.push({ fd, level, option });
        if (typeof this.answer === 'number') return this.answer;
        expect(length[0]).toBe(28);
        this.answer.copy(value);
        length[0] = this.answer.length;
        return 0;
      },
    );
  }
}

function accepted(localAddress: string | undefined, localPort: number, fd = 7): Socket {
  return { localAddress, localPort, _handle: fd < 0 ? null : { fd } } as unknown as Socket;
}

/** AF_INET, the port in network order, the address, zeros. */
const ipv4 = (port: number, ...address: number[]): Buffer =>
  Buffer.from([2, 0, port >> 8, port & 255, ...address, 0, 0, 0, 0, 0, 0, 0, 0]);
/** AF_INET6, the port, flow information, the address, a scope. */
const ipv6 = (port: number, address: string): Buffer =>
  Buffer.concat([
    Buffer.from([10, 0, port >> 8, port & 255, 9, 9, 9, 9]),
    Buffer.from(address, 'hex'),
    Buffer.alloc(4),
  ]);

test.each([
  ['127.0.0.1', SOL_IP, ipv4(80, 10, 96, 0, 10), { host: '10.96.0.10', port: 80 }],
  ['::ffff:10.0.0.7', SOL_IP, ipv4(65_535, 10, 0, 0, 7), { host: '10.0.0.7', port: 65_535 }],
  ['::1', SOL_IPV6, ipv6(443, 'fd960000000000000000000000000010'), { host: 'fd96::10', port: 443 }],
])('a redirected connection that arrives at %s tells where it was going', (local, level, answer, expected) => {
  const kernel = new Kernel(answer);
  expect(kernel.originals().of(accepted(local, 15_001))).toEqual(expected);
  expect(kernel.asked).toEqual([{ fd: 7, level, option: 80 }]);
  expect(kernel.told).toEqual([]);
});

test.each([
  ['10.0.0.7', ipv4(15_006, 10, 0, 0, 7)],
  ['::ffff:10.0.0.7', ipv4(15_006, 10, 0, 0, 7)],
  ['fd00::7', ipv6(15_006, 'fd000000000000000000000000000007')],
])('a connection to the listener itself at %s, which the kernel tracks, has no other destination', (local, answer) => {
  expect(new Kernel(answer).originals().of(accepted(local, 15_006))).toBeNull();
});

test('another address with the listener’s own port is another destination: the caller decides what a loop is', () => {
  const kernel = new Kernel(ipv4(15_001, 10, 0, 0, 9));
  expect(kernel.originals().of(accepted('127.0.0.1', 15_001))).toEqual({ host: '10.0.0.9', port: 15_001 });
});

test('what the kernel does not track was not redirected, and nobody is told', () => {
  const kernel = new Kernel(ENOENT);
  expect(kernel.originals().of(accepted('127.0.0.1', 15_001))).toBeNull();
  expect(kernel.told).toEqual([]);
});

test('a kernel that cannot answer is told of once, and all connections count as not redirected', () => {
  const kernel = new Kernel(ENOPROTOOPT);
  const originals = kernel.originals();
  for (let i = 0; i < 3; i++) expect(originals.of(accepted('127.0.0.1', 15_001))).toBeNull();
  expect(kernel.told).toEqual(['getsockopt(SO_ORIGINAL_DST) fails with errno 92']);
});

test('a connection that is closed already is not asked about', () => {
  const kernel = new Kernel(ipv4(80, 1, 2, 3, 4));
  expect(kernel.originals().of(accepted('127.0.0.1', 15_001, -1))).toBeNull();
  expect(kernel.originals().of(accepted(undefined, 15_001))).toBeNull();
  expect(kernel.asked).toEqual([]);
});

test('an accepted socket of this Node shows its descriptor, a closed one none', async () => {
  using pair = await plainEnds();
  expect(descriptorOf(pair.near)).toBeGreaterThan(2);
  pair.near.destroy();
  expect(descriptorOf(pair.near)).toBe(-1);
});

test('the real getsockopt says of a connection that nothing redirected that it was not', async () => {
  using pair = await plainEnds();
  expect(new OriginalDestinations(() => {}).of(pair.near)).toBeNull();
});
