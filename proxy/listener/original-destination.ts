/**
 * Where a redirected connection was going before the kernel sent it here: `getsockopt(SO_ORIGINAL_DST)`, which Node lacks,
 * through koffi; 1–2 µs, asked once per connection. netfilter answers from its connection table (Linux,
 * net/netfilter/nf_conntrack_proto.c), with a `sockaddr_in` or `sockaddr_in6`.
 */
import type { Socket } from 'node:net';
import koffi from 'koffi';
import { canonicalIp, formatIp, type HostPort } from '../../shared/address.ts';

const SOL_IP = 0;
const SOL_IPV6 = 41;
/** Of SOL_IP; IP6T_SO_ORIGINAL_DST of SOL_IPV6 has the same number. */
const SO_ORIGINAL_DST = 80;

/** `sockaddr_in`: family, port (big-endian), address. `sockaddr_in6`: family, port, flow, address, scope. */
const SOCKADDR_BYTES = 28;
const PORT_AT = 2;
const IPV4_AT = 4;
const IPV6_AT = 8;

/** The kernel does not track this connection: nothing has redirected it. */
const ENOENT = 2;

/** 0, or the errno. `value` is filled up to `length[0]` bytes. */
export type GetSockOpt = (fd: number, level: number, option: number, value: Buffer, length: Uint32Array) => number;

/** Reads into one buffer: one object per data thread. */
export class OriginalDestinations {
  private readonly getsockopt: GetSockOpt;
  private readonly onUnavailable: (detail: string) => void;
  private readonly value = Buffer.alloc(SOCKADDR_BYTES);
  private readonly length = new Uint32Array(1);
  private told = false;

  /** `onUnavailable` is called once, when the kernel turns out not to answer: all connections then count as not redirected. */
  constructor(onUnavailable: (detail: string) => void, getsockopt: GetSockOpt = systemGetSockOpt()) {
    this.onUnavailable = onUnavailable;
    this.getsockopt = getsockopt;
  }

  /** null for a connection that was made to the listener itself. The host is canonical. */
  of(socket: Socket): HostPort | null {
    const fd = descriptorOf(socket);
    const { localAddress } = socket;
    // Closed meanwhile.
    if (fd < 0 || localAddress === undefined) return null;
    const mapped = localAddress.startsWith('::ffff:');
    const ipv4 = mapped || !localAddress.includes(':');
    this.length[0] = SOCKADDR_BYTES;
    const errno = this.getsockopt(fd, ipv4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, this.value, this.length);
    if (errno !== 0) {
      if (errno !== ENOENT) this.tell(errno);
      return null;
    }
    const port = this.value.readUInt16BE(PORT_AT);
    const host = formatIp(
      ipv4 ? this.value.subarray(IPV4_AT, IPV4_AT + 4) : this.value.subarray(IPV6_AT, IPV6_AT + 16),
    );
    // A tracked connection that nothing redirected was going where it is.
    if (port === socket.localPort && host === canonicalIp(localAddress)) return null;
    return { host, port };
  }

  private tell(errno: number): void {
    if (this.told) return;
    this.told = true;
    this.onUnavailable(`getsockopt(SO_ORIGINAL_DST) fails with errno ${errno}`);
  }
}

interface WithHandle {
  readonly _handle: { readonly fd: number } | null;
}

/** -1 where the socket is closed. The handle is Node's own; test/unit/listener/original-destination.test.ts watches it. */
export function descriptorOf(socket: Socket): number {
  return (socket as unknown as WithHandle)._handle?.fd ?? -1;
}

function systemGetSockOpt(): GetSockOpt {
  const call = koffi
    .load(null)
    .func('int getsockopt(int fd, int level, int option, void *value, void *length)') as GetSockOpt;
  return (fd, level, option, value, length) => (call(fd, level, option, value, length) === 0 ? 0 : koffi.errno());
}
