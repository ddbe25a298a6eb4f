/** Hands rules to the kernel through nft or iptables, and tells what to do where that does not work. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { err, ok, type Result } from '../../shared/result.ts';
import { iptablesRemoval, iptablesRuleset, iptablesState } from './iptables.ts';
import { nftRemoval, nftRuleset } from './nftables.ts';
import type { Backend } from './options.ts';
import type { Chain } from './rules.ts';

/** nft and iptables answer in milliseconds; one that waits for a lock for longer is stuck. */
const TIMEOUT_MS = 10_000;
/** Where Debian keeps them: not on every PATH. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin'];
/** There where the host has IPv6 at all. */
const IPV6_ADDRESSES = '/proc/net/if_inet6';

const FAMILIES: readonly { readonly family: 4 | 6; readonly list: string; readonly restore: string }[] = [
  { family: 4, list: 'iptables', restore: 'iptables-restore' },
  { family: 6, list: 'ip6tables', restore: 'ip6tables-restore' },
];

const NEEDS =
  'weft init needs root and NET_ADMIN in the network namespace of the pod; without them leave it out and send to the listeners yourself (README, "Redirect")';

const REFUSED =
  'the kernel does not take the rules; NAT in an inet table is there since Linux 5.2, iptables (--backend) do without';

/** nft where it is installed, else iptables; null where neither is. */
export function findBackend(): Backend | null {
  if (pathOf('nft') !== null) return 'nft';
  return pathOf('iptables-restore') === null ? null : 'iptables';
}

/** The text that `applyRules` would hand over, of both families. */
export function printRules(backend: Backend, chains: readonly Chain[]): string {
  if (backend === 'nft') return nftRuleset(chains);
  return FAMILIES.map(({ family, restore }) => `# ${restore} --noflush\n${iptablesRuleset(chains, family, [])}`).join(
    '',
  );
}

/** Replaces what there is of the redirect. The error is a sentence; what the programs print is of no interest. */
export function applyRules(backend: Backend, chains: readonly Chain[]): Result<string, string> {
  if (backend === 'nft') return run('nft', ['-f', '-'], nftRuleset(chains));
  return eachFamily(chains, (family, { hooked }) => iptablesRuleset(chains, family, hooked));
}

/** Takes the redirect away, whichever program made it. */
export function removeRules(chains: readonly Chain[]): Result<string, string> {
  if (pathOf('nft') !== null) {
    const removed = run('nft', ['-f', '-'], nftRemoval());
    if (!removed.ok) return removed;
  }
  if (pathOf('iptables-restore') === null) return ok('');
  return eachFamily(chains, (_family, { hooked, present }) => iptablesRemoval(chains, hooked, present));
}

function eachFamily(
  chains: readonly Chain[],
  ruleset: (family: 4 | 6, state: ReturnType<typeof iptablesState>) => string,
): Result<string, string> {
  for (const { family, list, restore } of FAMILIES) {
    if (family === 6 && !existsSync(IPV6_ADDRESSES)) continue;
    const listing = run(list, ['-w', '-t', 'nat', '-S'], '');
    if (!listing.ok) return listing;
    const applied = run(restore, ['-w', '--noflush'], ruleset(family, iptablesState(listing.value, chains)));
    if (!applied.ok) return applied;
  }
  return ok('');
}

function pathOf(program: string): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  const folder = folders.find((each) => each !== '' && existsSync(join(each, program)));
  return folder === undefined ? null : join(folder, program);
}

/** What it printed. */
function run(program: string, args: readonly string[], input: string): Result<string, string> {
  const path = pathOf(program);
  if (path === null) return err(`${program} is not installed`);
  const { status, stdout, stderr, error } = spawnSync(path, args, { input, encoding: 'utf8', timeout: TIMEOUT_MS });
  if (status === 0) return ok(stdout);
  const said = (error?.message ?? stderr).trim().replaceAll(/\s+/g, ' ');
  const advice = /permitted|denied|must be root/i.test(said) ? NEEDS : REFUSED;
  return err(`${program} fails: ${said} (${advice})`);
}
