/** `weft ca`: an own certificate authority for meshes that have none, and for trying things out. */
import { type CaWriters, failed, parse, parseTtl, USAGE, usage } from './ca-arguments.ts';
import { holdsAuthority, readAuthority, writeAuthority, writeWorkload } from './ca-folder.ts';
import { type Authority, createIntermediate, createRoot, issueLeaf, mayHaveAuthorityBelow } from './issue.ts';

/**
 * Runs one `weft ca` command; `args` are those after `ca`. Resolves with the exit code: 0, 1 failed, 2 usage. `serve` runs until
 * `stop` is aborted.
 */
export async function runCa(args: readonly string[], writers: CaWriters, stop?: AbortSignal): Promise<number> {
  const [command, ...rest] = args;
  if (args.includes('--help') || command === 'help' || command === '-h') {
    writers.stdout.write(USAGE);
    return 0;
  }
  switch (command) {
    case 'init':
      return init(rest, writers);
    case 'issue':
      return issue(rest, writers);
    case 'serve': {
      const { serveCa } = await import('./ca-serve-cli.ts');
      return serveCa(rest, writers, stop);
    }
    case undefined:
      return usage(writers, 'a command is missing: init, issue or serve');
    default:
      return usage(writers, `there is no command "${command}": init, issue or serve`);
  }
}

async function init(args: readonly string[], writers: CaWriters): Promise<number> {
  const parsed = parse(args, { name: { type: 'string' }, parent: { type: 'string' } });
  if (typeof parsed === 'string') return usage(writers, parsed);
  const name = parsed.one('name') ?? 'weft';
  const parentDir = parsed.one('parent');
  let authority: Authority;
  if (parentDir === undefined) {
    authority = createRoot({ commonName: `${name} root CA`, now: Date.now() });
  } else {
    const parent = await readAuthority(parentDir);
    if (!parent.ok) return failed(writers, parent.error);
    const may = mayHaveAuthorityBelow(parent.value);
    if (!may.ok) return failed(writers, `${parentDir}: ${may.error}`);
    authority = createIntermediate(parent.value, { commonName: `${name} intermediate CA`, now: Date.now() });
  }
  const written = await writeAuthority(parsed.dir, authority);
  if (!written.ok) return failed(writers, written.error);
  writers.stdout.write(`${parsed.dir}: ca.crt and ca.key written; keep ca.key secret\n`);
  return 0;
}

async function issue(args: readonly string[], writers: CaWriters): Promise<number> {
  const parsed = parse(args, {
    'spiffe-id': { type: 'string' },
    dns: { type: 'string', multiple: true },
    ttl: { type: 'string' },
    out: { type: 'string' },
  });
  if (typeof parsed === 'string') return usage(writers, parsed);
  const spiffeId = parsed.one('spiffe-id');
  const out = parsed.one('out');
  if (spiffeId === undefined)
    return usage(writers, '--spiffe-id is missing: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT');
  if (out === undefined) return usage(writers, '--out is missing: the folder for tls.crt, tls.key and ca.crt');
  const lifetimeMs = parseTtl(parsed.one('ttl'));
  if (typeof lifetimeMs === 'string') return usage(writers, lifetimeMs);
  if (await holdsAuthority(out))
    return usage(writers, `--out ${out} is the folder of a CA (ca.key), whose ca.crt would be replaced: name another`);
  const authority = await readAuthority(parsed.dir);
  if (!authority.ok) return failed(writers, authority.error);
  const leaf = issueLeaf(authority.value, { spiffeId, dnsNames: parsed.many('dns'), now: Date.now(), lifetimeMs });
  if (!leaf.ok) return usage(writers, leaf.error);
  const written = await writeWorkload(out, leaf.value);
  if (!written.ok) return failed(writers, written.error);
  const end = new Date(leaf.value.notAfter).toISOString();
  writers.stdout.write(`${out}: ${spiffeId}, serial number ${leaf.value.serialNumber}, valid until ${end}\n`);
  return 0;
}
