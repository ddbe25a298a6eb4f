/** The redirect as iptables-restore and ip6tables-restore read it, for kernels and images without nftables. */
import type { Chain, Rule } from './rules.ts';

/** iptables takes 28 characters for a chain's name. */
const chainName = (name: string): string => `WEFT_${name.toUpperCase()}`;

/**
 * For `iptables-restore --noflush` of one family, in one transaction. Naming an own chain empties it; the hooks' chains are
 * not ours, so `hooked` says which of them lead to us already.
 */
export function iptablesRuleset(chains: readonly Chain[], family: 4 | 6, hooked: readonly string[]): string {
  const lines = chains.map(({ name }) => `:${chainName(name)} - [0:0]`);
  for (const { name, rules } of chains) {
    for (const rule of rules) {
      if (rule.family !== undefined && rule.family !== family) continue;
      lines.push(...ruleLines(rule).map((line) => `-A ${chainName(name)} ${line}`));
    }
  }
  for (const { hook, name } of chains) {
    if (hook !== null && !hooked.includes(hook)) lines.push(`-A ${hook.toUpperCase()} ${leadsTo(name)}`);
  }
  return nat(lines);
}

/** Takes away what there is of it; `present` are the names that `iptables -t nat -S` shows. */
export function iptablesRemoval(
  chains: readonly Chain[],
  hooked: readonly string[],
  present: ReadonlySet<string>,
): string {
  const ours = chains.filter(({ name }) => present.has(chainName(name))).map(({ name }) => chainName(name));
  return nat([
    ...chains.flatMap(({ hook, name }) =>
      hook !== null && hooked.includes(hook) ? [`-D ${hook.toUpperCase()} ${leadsTo(name)}`] : [],
    ),
    ...ours.map((name) => `-F ${name}`),
    ...ours.map((name) => `-X ${name}`),
  ]);
}

/** What `iptables -t nat -S` says of us: the hooks that lead to our chains, and all chains there are. */
export function iptablesState(
  listing: string,
  chains: readonly Chain[],
): { readonly hooked: string[]; readonly present: Set<string> } {
  const lines = listing.split('\n').map((line) => line.trim());
  const hooked = chains.flatMap(({ hook, name }) =>
    hook !== null && lines.includes(`-A ${hook.toUpperCase()} ${leadsTo(name)}`) ? [hook] : [],
  );
  const present = new Set(lines.filter((line) => line.startsWith('-N ')).map((line) => line.slice(3)));
  return { hooked, present };
}

function leadsTo(name: string): string {
  return `-p tcp -j ${chainName(name)}`;
}

function nat(lines: readonly string[]): string {
  return `*nat\n${lines.map((line) => `${line}\n`).join('')}COMMIT\n`;
}

/** One line for each port. */
function ruleLines(rule: Rule): string[] {
  const { inInterface, outInterface, source, destination, uid, gid, ports, verdict } = rule;
  const parts: string[] = [];
  if (source !== undefined) parts.push(`-s ${source}`);
  if (destination !== undefined) parts.push(`-d ${destination}`);
  if (inInterface !== undefined) parts.push(`-i ${inInterface}`);
  if (outInterface !== undefined) parts.push(`-o ${outInterface}`);
  if (uid !== undefined) parts.push(`-m owner --uid-owner ${uid}`);
  if (gid !== undefined) parts.push(`-m owner --gid-owner ${gid}`);
  const line = [...parts, targetOf(verdict)].join(' ');
  if (ports === undefined) return [`-p tcp ${line}`];
  return [...new Set(ports)].map((port) => `-p tcp --dport ${port} ${line}`);
}

function targetOf(verdict: Rule['verdict']): string {
  if (verdict === 'return') return '-j RETURN';
  return 'jump' in verdict ? `-j ${chainName(verdict.jump)}` : `-j REDIRECT --to-ports ${verdict.redirect}`;
}
