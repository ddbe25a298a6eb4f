/**
 * Where the log goes: one file descriptor, written in order and beside everything else, whoever reads it. Requests never
 * wait for it: what a slow reader leaves lying beyond a bound is dropped and counted, and so is what cannot be written.
 *
 * It does what sonic-boom does for pino, without a copy of every buffer, whose garbage cost a logged request 1.5 µs.
 */
import { writev, writevSync } from 'node:fs';
import type { Clock } from '../../shared/clock.ts';
import { codeOf } from '../../shared/error-code.ts';

/** Bytes that wait for a reader. */
const MOST_WAITING = 16 * 1024 * 1024;
/** Milliseconds after which a pipe that takes nothing now (EAGAIN) is tried again. */
const RETRY_MS = 100;
/** IOV_MAX of Linux. */
const MOST_PIECES = 1024;

interface Piece {
  readonly bytes: Uint8Array;
  readonly done: () => void;
}

const NOTHING = (): void => {};

export class LogOutput {
  /** Writes that nobody will ever read. */
  dropped = 0;
  private readonly fd: number;
  private readonly clock: Clock;
  private waiting: Piece[] = [];
  /** What the kernel is asked to take. */
  private going: Piece[] = [];
  private bytes = 0;
  private isAsked = false;
  private onEmpty = NOTHING;

  constructor(fd: number, clock: Clock) {
    this.fd = fd;
    this.clock = clock;
  }

  /** `done` is called when nobody needs the bytes any more. */
  write(bytes: Uint8Array, done: () => void = NOTHING): void {
    if (this.bytes + bytes.length > MOST_WAITING) {
      this.dropped++;
      done();
      return;
    }
    this.bytes += bytes.length;
    this.waiting.push({ bytes, done });
    if (this.going.length === 0) this.next();
  }

  /** Resolves when all is written or dropped. */
  async flushed(): Promise<void> {
    if (this.going.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.onEmpty = resolve;
    await promise;
  }

  /** For the last words of a process that ends at once: written now, unless others are on their way or stuck. */
  end(): void {
    const last = [...this.going, ...this.waiting].map(({ bytes }) => bytes);
    if (this.isAsked || last.length === 0) return;
    this.going = [];
    this.waiting = [];
    try {
      writevSync(this.fd, last);
    } catch {
      // There is nobody to tell.
    }
  }

  private next(): void {
    this.going = this.waiting.splice(0, MOST_PIECES);
    if (this.going.length > 0) this.ask();
    else this.onEmpty();
  }

  private ask(): void {
    this.isAsked = true;
    const pieces = this.going.map(({ bytes }) => bytes);
    writev(this.fd, pieces, (error, written) => {
      this.isAsked = false;
      if (error === null) this.taken(written);
      else this.failed(error);
    });
  }

  /** Of what is going, the kernel has taken so many bytes. */
  private taken(written: number): void {
    let rest = written;
    let whole = 0;
    for (const { bytes, done } of this.going) {
      if (bytes.length > rest) break;
      rest -= bytes.length;
      whole++;
      this.bytes -= bytes.length;
      done();
    }
    this.going.splice(0, whole);
    const [first] = this.going;
    if (first === undefined) {
      this.next();
      return;
    }
    if (rest > 0) {
      this.bytes -= rest;
      this.going[0] = { bytes: first.bytes.subarray(rest), done: first.done };
    }
    this.ask();
  }

  private failed(error: Error): void {
    if (codeOf(error) === 'EAGAIN') {
      this.clock.after(RETRY_MS, () => this.ask());
      return;
    }
    // A reader that has gone (EPIPE) or a full disk: the next lines may have more luck.
    this.dropped += this.going.length;
    for (const { bytes, done } of this.going) {
      this.bytes -= bytes.length;
      done();
    }
    this.next();
  }
}
