/** What tcpdump has written (libpcap's file format, Ethernet frames), as far as tests look at it. */

export interface Packet {
  readonly protocol: 'tcp' | 'udp';
  /** As the packet spells it: IPv6 in groups of four digits. */
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const ETHERNET_HEADER = 14;
const IPV6_HEADER = 40;
const IPV4_TYPE = 0x0800;
const IPV6_TYPE = 0x86dd;
const TCP = 6;
const UDP = 17;

/** All TCP and UDP packets of a little-endian capture, in order; other frames are left out. */
export function packetsOf(file: Buffer): Packet[] {
  const packets: Packet[] = [];
  let at = FILE_HEADER;
  while (at + RECORD_HEADER <= file.length) {
    const length = file.readUInt32LE(at + 8);
    // Still being written.
    if (at + RECORD_HEADER + length > file.length) break;
    const frame = file.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    at += RECORD_HEADER + length;
    const packet = packetOf(frame);
    if (packet !== null) packets.push(packet);
  }
  return packets;
}

function packetOf(frame: Buffer): Packet | null {
  const ip = frame.subarray(ETHERNET_HEADER);
  switch (frame.readUInt16BE(12)) {
    case IPV4_TYPE: {
      const body = ip.subarray((ip.readUInt8(0) & 15) * 4, ip.readUInt16BE(2));
      return segmentOf(ip.readUInt8(9), ip.subarray(12, 16).join('.'), ip.subarray(16, 20).join('.'), body);
    }
    case IPV6_TYPE: {
      const body = ip.subarray(IPV6_HEADER, IPV6_HEADER + ip.readUInt16BE(4));
      return segmentOf(ip.readUInt8(6), groups(ip.subarray(8, 24)), groups(ip.subarray(24, 40)), body);
    }
    default:
      return null;
  }
}

function segmentOf(protocol: number, source: string, destination: string, body: Buffer): Packet | null {
  if (protocol !== TCP && protocol !== UDP) return null;
  const tcp = protocol === TCP;
  const payload = body.subarray(tcp ? (body.readUInt8(12) >> 4) * 4 : 8);
  const ports = { sourcePort: body.readUInt16BE(0), destinationPort: body.readUInt16BE(2) };
  return { protocol: tcp ? 'tcp' : 'udp', source, destination, ...ports, payload };
}

function groups(address: Buffer): string {
  return (address.toString('hex').match(/.{4}/g) ?? []).join(':');
}
