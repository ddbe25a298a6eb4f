/** What the `weft ca` commands share at the command line: usage, flags, exit codes. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { EXIT_FAILED, EXIT_USAGE } from '../shared/exit-codes.ts';
import { parseDuration } from '../shared/units.ts';
import { LEAF_LIFETIME_MS } from './issue.ts';

export interface Writer {
  write(text: string): unknown;
}

export interface CaWriters {
  readonly stdout: Writer;
  readonly stderr: Writer;
}

export const USAGE = `usage: weft ca init DIR [--name NAME] [--parent DIR]
       weft ca issue DIR --spiffe-id ID [--dns NAME]... [--ttl 24h] --out DIR
       weft ca serve DIR (--jwks URL|FILE --audience NAME [--issuer NAME] | --join-tokens FILE)
                         [--listen [::]:15012] [--trust-domain cluster.local] [--dns NAME]... [--ttl 24h]

init   makes a root in DIR (ca.crt, ca.key), or with --parent an intermediate below that CA
issue  writes a workload certificate: tls.crt, tls.key, ca.crt
serve  signs certificate requests over HTTPS; who the caller is comes from its token
`;

/** Below a minute nothing can renew in time; above a year it is no workload certificate any more. */
const MIN_TTL_MS = 60_000;
const MAX_TTL_MS = 366 * LEAF_LIFETIME_MS;

export interface CaArguments {
  readonly dir: string;
  one(flag: string): string | undefined;
  many(flag: string): string[];
}

/** DIR and flags; a sentence where they make no sense. */
export function parse(args: readonly string[], options: NonNullable<ParseArgsConfig['options']>): CaArguments | string {
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const [dir, extra] = parsed.positionals;
  if (dir === undefined) return 'DIR is missing: the folder of the CA';
  if (extra !== undefined) return `one DIR only, not also "${extra}"`;
  const many = (flag: string): string[] => {
    const value = parsed.values[flag];
    return (Array.isArray(value) ? value : [value]).filter((item) => typeof item === 'string');
  };
  return { dir, many, one: (flag) => many(flag)[0] };
}

/** Milliseconds of `--ttl`, or a sentence. */
export function parseTtl(text: string | undefined): number | string {
  if (text === undefined) return LEAF_LIFETIME_MS;
  const ms = parseDuration(text);
  if (ms === null) return `--ttl "${text}" is no duration such as 24h or 90m`;
  if (ms < MIN_TTL_MS || ms > MAX_TTL_MS) return `--ttl "${text}" is not between 1m and 8784h`;
  return ms;
}

export function usage(writers: CaWriters, message: string): number {
  writers.stderr.write(`weft ca: ${message}\n${USAGE}`);
  return EXIT_USAGE;
}

export function failed(writers: CaWriters, message: string): number {
  writers.stderr.write(`weft ca: ${message}\n`);
  return EXIT_FAILED;
}
