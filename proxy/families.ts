/** What the listeners' addresses come down to on a host without IPv6: many pods are such. */
import { networkInterfaces } from 'node:os';
import type { HostPort } from '../shared/address.ts';
import type { Bootstrap } from './config/bootstrap.ts';

/** Where IPv6 is on, loopback at least has an address of it. */
export function hasIPv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ family }) => family === 'IPv6'));
}

/** Every address becomes every IPv4 address; IPv6 loopback is left out where IPv4 is listened on too. */
export function ipv4Only(bootstrap: Bootstrap): Bootstrap {
  const outbound = bootstrap.outbound.map(anyIPv4).filter(({ host }) => !host.includes(':'));
  return {
    ...bootstrap,
    inbound: anyIPv4(bootstrap.inbound),
    // With nothing left, to bind what was asked for says best what is wrong.
    outbound: outbound.length === 0 ? bootstrap.outbound : outbound,
    admin: anyIPv4(bootstrap.admin),
    metrics: anyIPv4(bootstrap.metrics),
    ready: anyIPv4(bootstrap.ready),
  };
}

function anyIPv4({ host, port }: HostPort): HostPort {
  return { host: host === '::' ? '0.0.0.0' : host, port };
}
