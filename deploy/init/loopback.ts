/**
 * `::6/128` on lo, the source of what weft delivers over IPv6 (127.0.0.6 is there by itself). Set by ioctl, so that the
 * image needs no iproute2: SIOCSIFADDR and SIOCDIFADDR of an IPv6 socket take an `in6_ifreq` (Linux, ipv6.h).
 */
import koffi from 'koffi';

const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SIOCSIFADDR = 0x8916;
const SIOCDIFADDR = 0x8936;
/** lo is the first interface of every network namespace. */
const LO_INDEX = 1;
const EEXIST = 17;
const EADDRNOTAVAIL = 99;

/** `in6_ifreq`: 16 bytes of address, prefix length, interface index. */
function request(): Buffer {
  const bytes = Buffer.alloc(24);
  bytes[15] = 6;
  bytes.writeUInt32LE(128, 16);
  bytes.writeInt32LE(LO_INDEX, 20);
  return bytes;
}

/** Adds or removes the address; 0, or the errno. That it is there, or gone, already is no error. */
export function setDeliveryAddress(present: boolean): number {
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int family, int type, int protocol)') as (...args: number[]) => number;
  const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)') as (
    fd: number,
    request: number,
    argument: Buffer,
  ) => number;
  const close = libc.func('int close(int fd)') as (fd: number) => number;
  const fd = socket(AF_INET6, SOCK_DGRAM, 0);
  if (fd < 0) return koffi.errno();
  const errno = ioctl(fd, present ? SIOCSIFADDR : SIOCDIFADDR, request()) === 0 ? 0 : koffi.errno();
  close(fd);
  return errno === (present ? EEXIST : EADDRNOTAVAIL) ? 0 : errno;
}
