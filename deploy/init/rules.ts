/**
 * The redirect as rules, once for nftables and iptables: what the application opens goes to weft's outbound listener, what
 * comes to the pod goes to the inbound one. A rule that says nothing of a field holds for all of it; chains with a hook
 * are asked for the first packet of each connection.
 */
import type { Redirect } from './options.ts';

export type Verdict =
  /** Leaves this chain; at the end of a hook's own chain the connection is left alone. */
  'return' | { readonly redirect: number } | { readonly jump: string };

export interface Rule {
  readonly family?: 4 | 6;
  readonly inInterface?: string;
  readonly outInterface?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** TCP destination ports, at least one. */
  readonly ports?: readonly number[];
  readonly verdict: Verdict;
}

export interface Chain {
  readonly name: string;
  readonly hook: 'prerouting' | 'output' | null;
  readonly rules: readonly Rule[];
}

/** Metrics, readiness and Envoy's merged metrics: kubelet and Prometheus ask for them in plain text. */
const OWN_INBOUND_PORTS: readonly number[] = [15_020, 15_021, 15_090];
/** Resolvers turn to TCP when an answer is long: names must resolve whatever policy says of destinations. */
export const DNS_PORT = 53;

/** In an order in which each chain stands before those that jump to it. All is about TCP only. */
export function chainsOf(redirect: Redirect): Chain[] {
  const { uid, gid, excludeInterfaces } = redirect;
  const passIn = excludeInterfaces.map((inInterface): Rule => ({ inInterface, verdict: 'return' }));
  const passOut = excludeInterfaces.map((outInterface): Rule => ({ outInterface, verdict: 'return' }));
  return [
    { name: 'to_inbound', hook: null, rules: toInbound(redirect) },
    { name: 'to_outbound', hook: null, rules: toOutbound(redirect) },
    {
      name: 'loopback',
      hook: null,
      rules: [
        // What weft delivers to the application.
        { family: 4, source: '127.0.0.6', verdict: 'return' },
        { family: 6, source: '::6', verdict: 'return' },
        { family: 4, destination: '127.0.0.0/8', verdict: 'return' },
        { family: 6, destination: '::1', verdict: 'return' },
        // What weft sends to the pod's own address: the application calls itself through its Service.
        { uid, verdict: { jump: 'to_inbound' } },
        { gid, verdict: { jump: 'to_inbound' } },
      ],
    },
    {
      name: 'prerouting',
      hook: 'prerouting',
      // What comes by lo was looked at on its way out.
      rules: [{ inInterface: 'lo', verdict: 'return' }, ...passIn, { verdict: { jump: 'to_inbound' } }],
    },
    {
      name: 'output',
      hook: 'output',
      rules: [
        { outInterface: 'lo', verdict: { jump: 'loopback' } },
        { outInterface: 'lo', verdict: 'return' },
        { uid, verdict: 'return' },
        { gid, verdict: 'return' },
        ...passOut,
        { verdict: { jump: 'to_outbound' } },
      ],
    },
  ];
}

function toInbound({ inboundPort, includeInboundPorts: include, excludeInboundPorts: exclude }: Redirect): Rule[] {
  const passed: Rule = { ports: [...OWN_INBOUND_PORTS, ...exclude], verdict: 'return' };
  if (include === '*') return [passed, { verdict: { redirect: inboundPort } }];
  return include.length === 0 ? [] : [passed, { ports: include, verdict: { redirect: inboundPort } }];
}

function toOutbound(redirect: Redirect): Rule[] {
  const { includeOutboundPorts, excludeOutboundPorts, includeOutboundIPRanges, excludeOutboundIPRanges } = redirect;
  const capture: Verdict = { redirect: redirect.outboundPort };
  const to = (destination: string, verdict: Verdict): Rule => ({ family: familyOf(destination), destination, verdict });
  return [
    { ports: [DNS_PORT, ...excludeOutboundPorts], verdict: 'return' },
    ...(includeOutboundPorts.length === 0 ? [] : [{ ports: includeOutboundPorts, verdict: capture }]),
    ...excludeOutboundIPRanges.map((range) => to(range, 'return')),
    ...(includeOutboundIPRanges === '*'
      ? [{ verdict: capture }]
      : includeOutboundIPRanges.map((range) => to(range, capture))),
  ];
}

/** Of an address or a block. */
export function familyOf(text: string): 4 | 6 {
  return text.includes(':') ? 6 : 4;
}
