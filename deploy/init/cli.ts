/** `weft init`: the pod's traffic redirect, put in place, taken away or printed. */
import { readFileSync } from 'node:fs';
import { EXIT_FAILED, EXIT_USAGE } from '../../shared/exit-codes.ts';
import { applyRules, findBackend, printRules, removeRules } from './apply.ts';
import { setDeliveryAddress } from './loopback.ts';
import { type InitOptions, initHelp, parseInit } from './options.ts';
import { type Chain, chainsOf } from './rules.ts';
import { ownAddresses, verifyCapture } from './verify.ts';

/** Where lines go; the process edge gives the streams. */
export interface Output {
  out(line: string): void;
  err(line: string): void;
}

/** Answers the exit code: 0, 1 where the redirect is not as it should be, 2 for a wrong command line. */
export async function runInit(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  output: Output,
): Promise<number> {
  if (args.includes('--help')) {
    output.out(initHelp().trimEnd());
    return 0;
  }
  const parsed = parseInit(args, env, (file) => readFileSync(file, 'utf8'));
  if (!parsed.ok) {
    for (const problem of parsed.error) output.err(`weft init: ${problem}`);
    return EXIT_USAGE;
  }
  const options = parsed.value;
  const chains = chainsOf(options.redirect);
  if (options.action === 'print') {
    output.out(`# ::6/128 is added to lo\n${printRules(options.backend ?? findBackend() ?? 'nft', chains).trimEnd()}`);
    return 0;
  }
  const problem = options.action === 'remove' ? remove(chains) : await apply(options, chains, output);
  if (problem === null) return 0;
  output.err(`weft init: ${problem}`);
  return EXIT_FAILED;
}

function remove(chains: readonly Chain[]): string | null {
  const removed = removeRules(chains);
  setDeliveryAddress(false);
  return removed.ok ? null : removed.error;
}

/** null, or what is wrong and what to do. */
async function apply(
  { redirect, backend }: InitOptions,
  chains: readonly Chain[],
  output: Output,
): Promise<string | null> {
  if (process.getuid?.() === redirect.uid || process.getgid?.() === redirect.gid) {
    return `runs as user or group ${redirect.uid}, whose connections are weft's own and not captured: run it as root`;
  }
  const chosen = backend ?? findBackend();
  if (chosen === null) return 'neither nft nor iptables is installed: use the image of weft init, or install nftables';
  const applied = applyRules(chosen, chains);
  if (!applied.ok) return applied.error;
  const errno = setDeliveryAddress(true);
  // A pod without IPv6 has no use for it.
  if (errno !== 0 && ownAddresses(redirect, 6).length > 0)
    output.err(`weft init: ::6 cannot be added to lo (errno ${errno}): nothing is delivered over IPv6`);
  const verified = await verifyCapture(redirect);
  if (!verified.ok) {
    return `the rules are in place (${chosen}), but ${verified.error}. Look for other rules that come first (nft list ruleset), try --backend ${chosen === 'nft' ? 'iptables' : 'nft'}, or take them away with weft init --remove`;
  }
  const seen =
    verified.value.length === 0 ? 'outbound is not captured' : `seen to capture ${verified.value.join(', ')}`;
  output.out(`weft init: the redirect is in place (${chosen}), ${seen}`);
  return null;
}
