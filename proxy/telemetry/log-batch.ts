/**
 * Lines of a log as bytes, collected until there are enough of them and then handed over whole, with the memory they are
 * in: text would be cloned for the other thread and encoded there (3 µs for the line of a request).
 */
import type { Clock, Timer } from '../../shared/clock.ts';
import { writeLatin1 } from '../../shared/latin1.ts';

/**
 * A batch goes when it has this many bytes (about 1400 lines), so that memory stays bounded under load. Every batch wakes
 * three threads, which cost 0.7 µs a line at a quarter of the bytes. What no line reaches is never backed by memory.
 */
const BATCH_BYTES = 1024 * 1024;
/** Milliseconds a line waits for company. */
const BATCH_DELAY = 100;
/** What a batch must have at least to be handed over with all the room that was made for it. */
const WORTH_HANDING_OVER: number = BATCH_BYTES / 2;

const NO_ROOM: Buffer = Buffer.alloc(0);

export class LogBatch {
  private bytes = NO_ROOM;
  private at = 0;
  private spare = NO_ROOM;
  private timer: Timer | null = null;
  private readonly clock: Clock;
  private readonly post: (lines: Uint8Array<ArrayBuffer>) => void;
  private readonly onTime: () => void;

  /** `post` gets whole lines and may keep the memory they are in. */
  constructor(clock: Clock, post: (lines: Uint8Array<ArrayBuffer>) => void) {
    this.clock = clock;
    this.post = post;
    this.onTime = () => this.flush();
  }

  /** A whole line, its line feed included; ASCII only: whoever makes it escapes the rest. */
  write(line: string): void {
    const { length } = line;
    if (this.at + length > this.bytes.length) this.makeRoom(length);
    writeLatin1(this.bytes, line, this.at);
    this.at += length;
    this.timer ??= this.clock.after(BATCH_DELAY, this.onTime);
  }

  /** Hands over what there is. */
  flush(): void {
    this.timer?.cancel();
    this.timer = null;
    const { bytes, at } = this;
    if (at === 0) return;
    this.at = 0;
    const lines = bytes.subarray(0, at) as Uint8Array<ArrayBuffer>;
    if (at < WORTH_HANDING_OVER) {
      this.post(new Uint8Array(lines));
    } else {
      this.bytes = NO_ROOM;
      this.post(lines);
    }
  }

  /** Memory of a batch that has been written. */
  reuse(memory: ArrayBuffer): void {
    if (memory.byteLength === BATCH_BYTES) this.spare = Buffer.from(memory);
  }

  private makeRoom(length: number): void {
    this.flush();
    // Not of Buffer's pool: it changes hands.
    if (this.bytes.length >= length) return;
    if (this.spare.length >= length) {
      this.bytes = this.spare;
      this.spare = NO_ROOM;
    } else {
      this.bytes = Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, length));
    }
  }
}
