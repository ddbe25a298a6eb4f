/** The redirect as nftables reads it: one table for IPv4 and IPv6, replaced in one transaction. */
import type { Chain, Rule } from './rules.ts';

const TABLE = 'inet weft';
/** Of destination NAT, by number: older nft does not know its name in the output hook. */
const PRIORITY = -100;

/** Adding the table first lets the deletion succeed where there was none. */
const WITHOUT = `table ${TABLE}\ndelete table ${TABLE}\n`;

/** For `nft -f -`. */
export function nftRuleset(chains: readonly Chain[]): string {
  return `${WITHOUT}table ${TABLE} {\n${chains.map(chainText).join('\n')}}\n`;
}

export function nftRemoval(): string {
  return WITHOUT;
}

function chainText({ name, hook, rules }: Chain): string {
  const hooked = hook === null ? [] : [`type nat hook ${hook} priority ${PRIORITY}; policy accept;`];
  const lines = [...hooked, ...(hook === null ? [] : ['meta l4proto != tcp return']), ...rules.map(ruleText)];
  return `\tchain ${name} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`;
}

function ruleText(rule: Rule): string {
  const { inInterface, outInterface, source, destination, uid, gid, ports, verdict } = rule;
  const ip = rule.family === 6 ? 'ip6' : 'ip';
  const parts: string[] = [];
  if (inInterface !== undefined) parts.push(`iifname "${inInterface}"`);
  if (outInterface !== undefined) parts.push(`oifname "${outInterface}"`);
  if (source !== undefined) parts.push(`${ip} saddr ${source}`);
  if (destination !== undefined) parts.push(`${ip} daddr ${destination}`);
  if (uid !== undefined) parts.push(`meta skuid ${uid}`);
  if (gid !== undefined) parts.push(`meta skgid ${gid}`);
  if (ports !== undefined) parts.push(`tcp dport { ${[...new Set(ports)].join(', ')} }`);
  if (verdict === 'return') parts.push('return');
  else if ('jump' in verdict) parts.push(`jump ${verdict.jump}`);
  else parts.push(`meta l4proto tcp redirect to :${verdict.redirect}`);
  return parts.join(' ');
}
