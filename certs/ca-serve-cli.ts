/** `weft ca serve`: from flags to a running `CaServer`. */
import { hostname } from 'node:os';
import { formatHostPort, parseHostPort } from '../shared/address.ts';
import { systemClock } from '../shared/clock.ts';
import { type CaWriters, failed, parse, parseTtl, usage } from './ca-arguments.ts';
import { readAuthority } from './ca-folder.ts';
import { JoinTokens, JwksJudge } from './ca-proof.ts';
import { type CaLogLine, CaServer, type TokenJudge } from './ca-server.ts';
import { isTrustDomain } from './identity.ts';

/** Istio's CA port, for the lack of a better known one. */
const DEFAULT_LISTEN = '[::]:15012';

/** Serves until `stop` is aborted, then resolves with 0; without `stop` until the process ends. */
export async function serveCa(args: readonly string[], writers: CaWriters, stop?: AbortSignal): Promise<number> {
  const parsed = parse(args, {
    listen: { type: 'string' },
    'trust-domain': { type: 'string' },
    audience: { type: 'string' },
    issuer: { type: 'string' },
    jwks: { type: 'string' },
    'join-tokens': { type: 'string' },
    dns: { type: 'string', multiple: true },
    ttl: { type: 'string' },
  });
  if (typeof parsed === 'string') return usage(writers, parsed);
  const listen = parseHostPort(parsed.one('listen') ?? DEFAULT_LISTEN);
  if (listen === null) return usage(writers, `--listen "${parsed.one('listen')}" is not HOST:PORT`);
  const trustDomain = parsed.one('trust-domain') ?? 'cluster.local';
  if (!isTrustDomain(trustDomain))
    return usage(writers, `--trust-domain "${trustDomain}" is none (a-z, 0-9, ".", "-", "_")`);
  const lifetimeMs = parseTtl(parsed.one('ttl'));
  if (typeof lifetimeMs === 'string') return usage(writers, lifetimeMs);
  const jwks = parsed.one('jwks');
  const joinTokens = parsed.one('join-tokens');
  const audience = parsed.one('audience');
  if ((jwks === undefined) === (joinTokens === undefined))
    return usage(writers, 'give one of --jwks and --join-tokens');
  if (jwks !== undefined && audience === undefined)
    return usage(writers, '--jwks needs --audience, which tokens must name');
  if (jwks?.startsWith('http://') === true)
    return usage(writers, '--jwks must be https: or a file: keys decide who is who');
  const authority = await readAuthority(parsed.dir);
  if (!authority.ok) return failed(writers, authority.error);
  const rules = { audience: audience ?? '', issuer: parsed.one('issuer') ?? null, trustDomain };
  let judgeToken: TokenJudge;
  if (joinTokens === undefined) {
    judgeToken = new JwksJudge(jwks ?? '', rules, systemClock).judge;
  } else {
    const tokens = new JoinTokens(joinTokens, trustDomain);
    const problem = await tokens.problem();
    if (problem !== null) return failed(writers, `--join-tokens ${problem}`);
    judgeToken = tokens.judge;
  }
  const dnsNames = parsed.many('dns');
  try {
    const server = new CaServer({
      authority: authority.value,
      trustDomain,
      dnsNames: dnsNames.length === 0 ? [hostname(), 'localhost'] : dnsNames,
      lifetimeMs,
      judgeToken,
      clock: systemClock,
      log: (line) => writers.stdout.write(logLine(line)),
    });
    const port = await server.listen(listen.host, listen.port);
    writers.stdout.write(`weft ca: serving on https://${formatHostPort(listen.host, port)}\n`);
    await aborted(stop);
    await server.close();
    return 0;
  } catch (error) {
    return failed(writers, error instanceof Error ? error.message : String(error));
  }
}

function logLine(line: CaLogLine): string {
  return `${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`;
}

async function aborted(stop: AbortSignal | undefined): Promise<void> {
  if (stop?.aborted === true) return;
  await new Promise<void>((resolve) => stop?.addEventListener('abort', () => resolve(), { once: true }));
}
