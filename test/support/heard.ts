/** One end of a connection as a test looks at it: everything that has arrived, and how the far side ended. */
import type { Socket } from 'node:net';
import { eventually } from './eventually.ts';

/** The socket is the test's own: it may write, pause and end it. */
export class Heard {
  readonly socket: Socket;
  end: 'open' | 'fin' | 'reset' = 'open';
  length = 0;
  private readonly chunks: Buffer[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.length += chunk.length;
    });
    socket.on('end', () => (this.end = 'fin'));
    socket.on('error', () => (this.end = 'reset'));
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }

  async until(text: string): Promise<void> {
    await eventually(JSON.stringify(text), () => (this.length === text.length && this.text === text) || undefined);
  }

  async untilEnd(): Promise<'fin' | 'reset'> {
    return eventually('the end', () => (this.end === 'open' ? undefined : this.end));
  }
}
