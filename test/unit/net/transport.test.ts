import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Outbox } from '../../../proxy/net/outbox.ts';
import { resetSocket } from '../../../proxy/net/reset-tls.ts';
import { Transport, type TransportOwner } from '../../../proxy/net/transport.ts';
import { eventually } from '../../support/eventually.ts';
import { plainEnds, read, tlsEnds } from './sockets.ts';

class Recorder implements TransportOwner {
  readonly events: string[] = [];
  text = '';

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.text += bytes.toString('latin1', start, end);
  }

  onEof(): void {
    this.events.push('eof');
  }

  onClosed(error: Error | null): void {
    this.events.push(error === null ? 'closed' : `closed: ${(error as NodeJS.ErrnoException).code}`);
  }

  onCongested(): void {
    this.events.push('congested');
  }

  onWritable(): void {
    this.events.push('writable');
  }
}

/** Wants what the far side said before it went. */
class LateReader extends Recorder {
  onWriteFailed(): boolean {
    this.events.push('write failed');
    return true;
  }
}

const KINDS = [
  ['plain', plainEnds, false],
  ['TLS', tlsEnds, true],
] as const;

describe.each(KINDS)('a %s transport', (_name, open, encrypted) => {
  async function setUp(): Promise<{ pair: Awaited<ReturnType<typeof open>>; owner: Recorder; transport: Transport }> {
    const pair = await open();
    const owner = new Recorder();
    return { pair, owner, transport: new Transport(pair.near, encrypted, new Outbox(), owner) };
  }

  test('delivers the bytes that were read before it took over, and then those that come', async () => {
    const { pair, owner, transport } = await setUp();
    transport.adopt(Buffer.from('first '));
    pair.far.write('then');
    await eventually('both are there', () => owner.text === 'first then' || undefined);
    pair.far.destroy();
    transport.destroy();
  });

  test('tells the end of the far side once and stays open for writing', async () => {
    const { pair, owner, transport } = await setUp();
    let answer = '';
    pair.far.on('data', (part: Buffer) => (answer += part.toString()));
    transport.adopt(null);
    pair.far.end('bye');
    await eventually('the end is told', () => owner.events.includes('eof') || undefined);
    transport.text('still here');
    transport.end();
    await eventually('it is closed', () => owner.events.at(-1) === 'closed' || undefined);
    await eventually('the answer is there', () => answer.length === 'still here'.length || undefined);
    expect([owner.text, answer, owner.events]).toEqual(['bye', 'still here', ['eof', 'closed']]);
  });

  test('tells congestion once, and once that it is over, however many writes waited', async () => {
    const { pair, owner, transport } = await setUp();
    transport.adopt(null);
    const large = Buffer.alloc(8 * 1024 * 1024);
    const small = Buffer.alloc(1024);
    transport.bytes(large, 0, large.length);
    for (let i = 0; i < 100; i++) transport.bytes(small, 0, small.length);
    expect(owner.events).toEqual(['congested']);
    await read(pair.far, large.length + 100 * small.length);
    await eventually('it is writable again', () => owner.events.length > 1 || undefined);
    expect(owner.events).toEqual(['congested', 'writable']);
    transport.destroy();
    pair.far.destroy();
  });

  test('a reset reaches the far side as one, and ends the transport', async () => {
    const { pair, owner, transport } = await setUp();
    const far: string[] = [];
    pair.far.on('error', (error: NodeJS.ErrnoException) => far.push(error.code ?? '')).resume();
    transport.adopt(null);
    transport.reset();
    await eventually('both have ended', () => (far.length > 0 && owner.events.length > 0) || undefined);
    expect(far).toEqual(['ECONNRESET']);
    expect(owner.events).toEqual(['closed']);
  });

  test('is gone at a reset though its end waits behind bytes that the far side does not take', async () => {
    const { pair, owner, transport } = await setUp();
    const far: string[] = [];
    pair.far.on('error', (error: NodeJS.ErrnoException) => far.push(error.code ?? ''));
    const large = Buffer.alloc(8 * 1024 * 1024);
    transport.adopt(null);
    transport.bytes(large, 0, large.length);
    transport.end();
    transport.reset();
    pair.far.resume();
    await eventually('it is closed', () => owner.events.includes('closed') || undefined);
    // Behind a TLS end that waits there is only the plain one.
    if (!encrypted) await eventually('the far side is reset', () => far.includes('ECONNRESET') || undefined);
    pair.far.destroy();
  });

  test('ends in order when the far side has taken all that was queued', async () => {
    const { pair, owner, transport } = await setUp();
    const large = Buffer.alloc(8 * 1024 * 1024);
    transport.adopt(null);
    transport.bytes(large, 0, large.length);
    transport.end();
    const ended = new Promise((resolve) => pair.far.once('end', resolve));
    await read(pair.far, large.length);
    await ended;
    pair.far.end();
    await eventually('it is closed', () => owner.events.includes('closed') || undefined);
  });

  describe('whose far side went with its last words unread', () => {
    async function leftAlone(owner: Recorder): Promise<Transport> {
      // Of the two ends the one that called, as for an upstream.
      const { far: here, near: there } = await open();
      const transport = new Transport(here, encrypted, new Outbox(), owner);
      transport.outliveWrites();
      transport.adopt(null);
      // What waits for an acknowledgement would be lost in the reset.
      there.setNoDelay(true);
      there.write('first words, ');
      await eventually('it reads, and can be stopped', () => owner.text !== '' || undefined);
      transport.pause();
      there.write('last words');
      const gone = once(there, 'close');
      resetSocket(there);
      await gone;
      await eventually('a write fails', () => {
        transport.text('anybody there?');
        return owner.events.some((event) => /failed|closed/.test(event)) || undefined;
      });
      return transport;
    }

    test('hands them to an owner that wants them, tells it of one failed write, and then of the end', async () => {
      const owner = new LateReader();
      const transport = await leftAlone(owner);
      transport.resume();
      await eventually('the end is told', () => owner.events.some((event) => /eof|closed/.test(event)) || undefined);
      expect(owner.text).toBe('first words, last words');
      expect(owner.events.filter((event) => event === 'write failed').length).toBe(1);
      transport.destroy();
    });

    test('is gone at once for an owner that does not', async () => {
      const owner = new Recorder();
      await leftAlone(owner);
      expect(owner.text).toBe('first words, ');
      expect(owner.events.at(-1)).toMatch(/^closed: (?:EPIPE|ECONNRESET)$/);
    });
  });

  test('tells its owner of the moment, not the one it began with', async () => {
    const { pair, owner, transport } = await setUp();
    const second = new Recorder();
    transport.owner = second;
    transport.adopt(Buffer.from('x'));
    pair.far.destroy();
    await eventually('it is closed', () => second.events.some((event) => event.startsWith('eof')) || undefined);
    expect([owner.text, owner.events, second.text]).toEqual(['', [], 'x']);
    transport.destroy();
  });
});
