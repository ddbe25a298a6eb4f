/**
 * A gRPC application that costs next to nothing: any unary call on a clear-text HTTP/2 connection is answered with one
 * message and status OK. It decodes no header: its answers do not depend on them, and it never adds to a table.
 * Argument: port. It does not ask whether its answers fit the peer's window, so they are to stay small.
 */
import { createServer, type Socket } from 'node:net';
import { MESSAGE_BYTES, messageFrame } from '../grpc-message.ts';

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const [DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE] = [0, 1, 4, 6, 8];
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
/** A quarter of the connection window that a peer has by default. */
const OWED_BYTES = 16_384;

function frame(type: number, flags: number, payload: Buffer, stream = 0): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** A field that enters no table (RFC 7541 section 6.2.2); `index` of its name in the static table, 0: spelled out. */
function field(index: number, name: string, value: string): Buffer {
  const start = index === 0 ? [0, name.length, ...Buffer.from(name)] : [0x0f, index - 0x0f];
  return Buffer.from([...start, value.length, ...Buffer.from(value)]);
}

const STATUS_200 = Buffer.from([0x88]);
const CONTENT_TYPE = 31;
const ANSWER: readonly Buffer[] = [
  frame(HEADERS, END_HEADERS, Buffer.concat([STATUS_200, field(CONTENT_TYPE, '', 'application/grpc')])),
  frame(DATA, 0, messageFrame()),
  frame(HEADERS, END_HEADERS | END_STREAM, field(0, 'grpc-status', '0')),
];
const SETTINGS_ACK = frame(SETTINGS, ACK, Buffer.alloc(0));

function answer(stream: number): Buffer {
  const bytes = Buffer.concat(ANSWER);
  let at = 0;
  for (const part of ANSWER) {
    bytes.writeUInt32BE(stream, at + 5);
    at += part.length;
  }
  return bytes;
}

class Connection {
  private readonly socket: Socket;
  private rest: Buffer = Buffer.alloc(0);
  private greeted = false;
  /** Bytes of DATA taken and not yet given back to the window. */
  private owed = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay();
    socket.write(frame(SETTINGS, 0, Buffer.alloc(0)));
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('error', () => socket.destroy());
  }

  private take(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const out: Buffer[] = [];
    let at = 0;
    if (!this.greeted && bytes.length >= PREFACE_BYTES) {
      this.greeted = true;
      at = PREFACE_BYTES;
    }
    while (this.greeted && bytes.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      this.read(bytes.subarray(at, end), out);
      at = end;
    }
    this.rest = Buffer.from(bytes.subarray(at));
    if (this.owed >= OWED_BYTES) {
      const increment = Buffer.alloc(4);
      increment.writeUInt32BE(this.owed);
      this.owed = 0;
      out.push(frame(WINDOW_UPDATE, 0, increment));
    }
    if (out.length > 0) this.socket.write(Buffer.concat(out));
  }

  /** One whole frame; what it deserves goes to `out`. */
  private read(bytes: Buffer, out: Buffer[]): void {
    const type = bytes[3];
    const flags = bytes[4] ?? 0;
    if (type === SETTINGS && (flags & ACK) === 0) out.push(SETTINGS_ACK);
    if (type === PING && (flags & ACK) === 0) out.push(frame(PING, ACK, bytes.subarray(FRAME_HEADER_BYTES)));
    if (type === DATA) this.owed += bytes.length - FRAME_HEADER_BYTES;
    const ends = (type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0;
    if (ends) out.push(answer(bytes.readUInt32BE(5)));
  }
}

if (MESSAGE_BYTES > OWED_BYTES / 64)
  throw new Error('64 answers at once must fit a window that is three quarters used');
createServer((socket) => new Connection(socket)).listen(Number(process.argv[2]), '127.0.0.1', 4096);
