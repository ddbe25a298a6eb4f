/**
 * A socket that was given away by the number of its descriptor. Whoever adopts it closes it, and the number may be
 * somebody else's by then: what is closed here is the socket, told by its inode, and never just a number.
 */
import { closeSync, fstatSync } from 'node:fs';

export class GivenSocket {
  private readonly fd: number;
  private readonly inode: string;

  /** `fd` is open now. */
  constructor(fd: number) {
    this.fd = fd;
    this.inode = inodeOf(fd);
  }

  /** Closes it, unless whoever adopted it has. */
  close(): void {
    if (this.inode !== CLOSED && inodeOf(this.fd) === this.inode) closeSync(this.fd);
  }
}

const CLOSED = '';

function inodeOf(fd: number): string {
  try {
    const { dev, ino } = fstatSync(fd);
    return `${dev} ${ino}`;
  } catch {
    return CLOSED;
  }
}
