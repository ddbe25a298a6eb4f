/** `weft explain`: of a folder, or of a running sidecar. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { parseSpiffeId } from '../../certs/identity.ts';
import { formatHostPort, type HostPort, parseHostPort } from '../../shared/address.ts';
import { codeOf } from '../../shared/error-code.ts';
import { EXIT_FAILED } from '../../shared/exit-codes.ts';
import { formatProblem } from '../../shared/problem.ts';
import { type Compiled, compileDocuments, type Self } from '../config/compile.ts';
import { decodeFolder } from '../config/sources.ts';
import { explainSnapshot } from './explain.ts';
import { explanationLines } from './explain-text.ts';
import type { Explanation } from './explanation.ts';
import { type FlagShape, type Flags, type Output, parseFlags, refuseUsage, tellUsage } from './flags.ts';
import { type Question, readHeaders } from './question.ts';

const USAGE =
  "usage: weft explain (--policy DIR | --admin HOST:PORT) [--namespace NS] [--from SPIFFE_ID] [--server-name NAME] [--header 'k: v']… [--json] METHOD URL";

const FLAGS: Readonly<Record<string, FlagShape>> = {
  policy: 'value',
  admin: 'value',
  namespace: 'value',
  from: 'value',
  'server-name': 'value',
  header: 'values',
  json: 'switch',
};

/** Who asks, where nobody says: Kubernetes gives it to pods that name none. */
const DEFAULT_ACCOUNT = 'default';

/** A sidecar that is up answers at once. */
const ADMIN_TIMEOUT_MS = 5_000;

/** A policy folder, or the admin server of a running sidecar. */
type Target = { readonly policy: string } | { readonly admin: HostPort };

interface Asked extends Question {
  readonly target: Target;
  readonly namespace: string;
  readonly json: boolean;
}

/** The exit code: 0 whatever the verdict, 1 where nobody can tell, 2 usage. */
export async function runExplain(args: readonly string[], output: Output): Promise<number> {
  const helped = tellUsage(args, output, USAGE);
  if (helped !== null) return helped;
  const flags = parseFlags(args, FLAGS);
  const asked = typeof flags === 'string' ? flags : readAsked(flags);
  if (typeof asked === 'string') return refuseUsage(output, asked, USAGE);
  const explanation = await ask(asked);
  if ('reasons' in explanation) {
    for (const line of explanation.reasons) output.err(line);
    return EXIT_FAILED;
  }
  const lines = asked.json ? [JSON.stringify(explanation, null, 2)] : explanationLines(explanation);
  for (const line of lines) output.out(line);
  return 0;
}

interface NoAnswer {
  readonly reasons: readonly string[];
}

function ask(asked: Asked): Promise<Explanation | NoAnswer> {
  const { target } = asked;
  return 'policy' in target ? askFolder(target.policy, asked) : askSidecar(target.admin, asked);
}

async function askFolder(dir: string, { namespace, ...question }: Asked): Promise<Explanation | NoAnswer> {
  const self = { namespace, labels: {}, serviceAccount: DEFAULT_ACCOUNT };
  const { snapshot, problems } = await compileFolder(dir, self);
  if (snapshot === null) return { reasons: problems.map(formatProblem) };
  const account = `spiffe://${snapshot.mesh.trustDomain}/ns/${namespace}/sa/${DEFAULT_ACCOUNT}`;
  return explainSnapshot(snapshot, { from: account, ...question });
}

/** Reads, decodes and compiles a folder once. */
export async function compileFolder(dir: string, self: Self): Promise<Compiled> {
  const { documents, problems } = await decodeFolder(dir);
  return compileDocuments(documents, problems, self);
}

async function askSidecar(
  admin: HostPort,
  { method, url, headers, serverName }: Asked,
): Promise<Explanation | NoAnswer> {
  const query = new URLSearchParams({ method, url });
  for (const [name, value] of headers) query.append('header', `${name}: ${value}`);
  if (serverName !== undefined) query.append('server_name', serverName);
  try {
    const { status, body } = await get(admin, `/explain?${query.toString()}`);
    if (status !== 200)
      return { reasons: [`${formatHostPort(admin.host, admin.port)} answers ${status}: ${body.trim()}`] };
    return JSON.parse(body) as Explanation;
  } catch (error) {
    const code = codeOf(error);
    const cause = code === 'ABORT_ERR' ? `no answer within ${ADMIN_TIMEOUT_MS / 1000} s` : (code ?? String(error));
    return { reasons: [`${formatHostPort(admin.host, admin.port)} cannot be asked: ${cause}`] };
  }
}

/** Not by `fetch`, which bars some ports. Rejects where nobody answers. */
async function get({ host, port }: HostPort, path: string): Promise<{ status: number; body: string }> {
  const asked = request({ host, port, path, agent: false, signal: AbortSignal.timeout(ADMIN_TIMEOUT_MS) }).end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, body: await text(answer) };
}

function readTarget(flags: Flags): Target | string {
  const policy = flags.value('policy');
  const admin = flags.value('admin');
  if ((policy === undefined) === (admin === undefined)) return 'either --policy or --admin';
  if (policy !== undefined) return { policy };
  const address = parseHostPort(admin ?? '');
  if (address === null) return '--admin must be HOST:PORT';
  if (flags.has('namespace') || flags.has('from')) {
    return 'a sidecar knows its own namespace and identity: --namespace and --from are for --policy';
  }
  return { admin: address };
}

function readAsked(flags: Flags): Asked | string {
  const [method, url, ...more] = flags.words;
  if (method === undefined || url === undefined || more.length > 0) return 'a method and a URL are needed';
  const target = readTarget(flags);
  if (typeof target === 'string') return target;
  const from = flags.value('from');
  const id = from === undefined ? null : parseSpiffeId(from);
  if (from !== undefined && (id === null || id.namespace === ''))
    return '--from must be a SPIFFE ID: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/NAME';
  const headers = readHeaders(flags.values('header'));
  if (typeof headers === 'string') return headers;
  // Who calls from a namespace is judged by that namespace's routes.
  const namespace = flags.value('namespace') ?? id?.namespace ?? 'default';
  const serverName = flags.value('server-name');
  return {
    method,
    url,
    headers,
    target,
    namespace,
    json: flags.has('json'),
    ...(from === undefined ? {} : { from }),
    ...(serverName === undefined ? {} : { serverName }),
  };
}
