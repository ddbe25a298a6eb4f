import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificateProblem, Identity } from '../../../certs/identity.ts';
import { WorkloadApiSource } from '../../../certs/sources/workload-api.ts';
import { decodeX509SvidResponse, GrpcFrames, grpcFrame } from '../../../certs/sources/workload-proto.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { Random } from '../../../shared/random.ts';
import { TestCa } from '../../support/certificates.ts';
import { field, varint, WorkloadApi } from '../../support/workload-api.ts';

const ca = new TestCa();
const first = ca.intermediate().identity('shop/cart');
const second = ca.identity('shop/cart', { trustBundle: ca.trustBundle + new TestCa('next root').trustBundle });

describe('the Workload API source', () => {
  let dir: string;
  let api: WorkloadApi;
  let clock: ManualClock;
  let source: WorkloadApiSource | null = null;
  const said: (Identity | CertificateProblem)[] = [];
  let wake = (): void => {};

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-spiffe-'));
    api = new WorkloadApi(join(dir, 'agent.sock'));
    clock = new ManualClock(Date.now());
    said.length = 0;
    await api.listen();
  });
  afterEach(async () => {
    source?.close();
    await api.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function start(endpoint: string = api.endpoint): void {
    source = new WorkloadApiSource({ endpoint, clock, random: new Random(7) });
    const take = (what: Identity | CertificateProblem): void => {
      said.push(what);
      wake();
    };
    source.start(take, take);
  }

  async function next(): Promise<Identity | CertificateProblem> {
    while (said.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return said.shift() as Identity | CertificateProblem;
  }

  it('takes the first identity of every message, with its chain and a bundle of several roots', async () => {
    api.push(first, ca.identity('shop/other'));
    start();
    expect(await next()).toEqual(first);
    api.push(second);
    expect(await next()).toEqual(second);
  });

  it('does not report the same generation twice', async () => {
    api.push(first);
    start();
    await next();
    api.push(first);
    api.push(second);
    expect(await next()).toEqual(second);
  });

  it('asks again after the agent was restarted, and keeps quiet about what it has already', async () => {
    api.push(first);
    start();
    await next();
    await api.close();
    expect(await next()).toMatchObject({ part: 'source', message: expect.stringContaining(api.endpoint) });
    clock.advance(1000);
    expect(await next()).toMatchObject({
      part: 'source',
      message: expect.stringContaining('cannot be reached (ENOENT)'),
    });
    await api.listen();
    api.push(second);
    clock.advance(2000);
    expect(await next()).toEqual(second);
  });

  it('notices an agent that hangs by its silence to a ping', async () => {
    api.push(first);
    start();
    await next();
    // The timeout falls due in the same turn, before any answer can be read.
    clock.advance(40_000);
    expect(await next()).toMatchObject({ message: expect.stringContaining('hangs') });
    clock.advance(1000);
    await api.waitForCalls(2);
  });

  it.each([
    ['7', 'has no identity for this workload'],
    ['3', 'does not understand the request'],
    ['14', 'refuses with gRPC status 14'],
  ])('tells of the gRPC status %s and asks again', async (status, message) => {
    api.refuse(status);
    start();
    expect(await next()).toMatchObject({ part: 'source', message: expect.stringContaining(message) });
    api.push(first);
    clock.advance(1000);
    expect(await next()).toEqual(first);
  });

  it.each([
    ['no SVID', Buffer.alloc(0), 'sends no identity'],
    ['an empty SVID', field(1, Buffer.alloc(0)), 'cannot be read'],
    ['a message cut short', Buffer.from([0x0a, 0x7f]), 'ends early'],
  ])('tells of %s', async (_what, message, text) => {
    api.send(message);
    start();
    expect(await next()).toMatchObject({ message: expect.stringContaining(text) });
  });

  it('uses no identity that has expired or is not the one it is said to be', async () => {
    api.push(ca.identity('shop/cart', { now: Date.now() - 3 * 86_400_000 }));
    start();
    expect(await next()).toMatchObject({ part: 'certificate', message: expect.stringContaining('expired') });
    api.push({ ...first, spiffeId: 'spiffe://cluster.local/ns/shop/sa/admin' });
    expect(await next()).toMatchObject({ part: 'certificate', message: expect.stringContaining('another SPIFFE ID') });
  });

  it('tells of an endpoint that is none', async () => {
    start('http://localhost/');
    clock.advance(0);
    expect(await next()).toMatchObject({ part: 'source', message: expect.stringContaining('neither unix') });
  });
});

describe('the protobuf and gRPC decoders', () => {
  it('pass over unknown fields of every wire type', () => {
    const unknown = Buffer.concat([
      varint((9 << 3) | 0),
      varint(2 ** 40),
      varint((9 << 3) | 1),
      Buffer.alloc(8),
      varint((9 << 3) | 5),
      Buffer.alloc(4),
      field(9, Buffer.from('x')),
    ]);
    const svid = Buffer.concat([unknown, field(1, Buffer.from('spiffe://a/b')), unknown]);
    const [decoded] = decodeX509SvidResponse(Buffer.concat([unknown, field(1, svid), unknown]));
    expect(decoded?.spiffeId).toBe('spiffe://a/b');
  });

  it('throw RangeError, and nothing else, for any other bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          decodeX509SvidResponse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { seed: 20261121, numRuns: 1000 },
    );
    expect(() => decodeX509SvidResponse(Buffer.alloc(11, 0xff))).toThrow('ten bytes');
    expect(() => decodeX509SvidResponse(Buffer.from([0x0b]))).toThrow('wire type');
  });

  it('cut the same messages out of any slicing of the stream', () => {
    const messages = [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')];
    const stream = Buffer.concat(messages.map((message) => grpcFrame(message)));
    for (let size = 1; size <= stream.length; size++) {
      const frames = new GrpcFrames(100);
      const found: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) found.push(...frames.push(stream.subarray(at, at + size)));
      expect(found).toEqual(messages);
    }
  });

  it('refuse a compressed and a too long message', () => {
    expect(() => new GrpcFrames(10).push(Buffer.from([1, 0, 0, 0, 0]))).toThrow(RangeError);
    expect(() => new GrpcFrames(10).push(Buffer.from([0, 0, 0, 0, 11]))).toThrow(RangeError);
  });
});
