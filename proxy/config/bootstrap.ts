/** The command line of `weft proxy`: one table of flags, from which parsing, environment, defaults and `--help` come. */
import { readFileSync } from 'node:fs';
import { type HostPort, parseHostPort } from '../../shared/address.ts';
import { codeOf } from '../../shared/error-code.ts';
import { DEFAULT_HTTP2_WINDOWS, type Http2Windows } from '../../shared/http2-windows.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { nearest, suggest } from './near.ts';

export interface Bootstrap {
  readonly policy: string;
  readonly policyTests: 'off' | 'warn' | 'enforce';
  readonly certs: string;
  readonly ca: string | null;
  readonly caToken: string | null;
  readonly inbound: HostPort;
  readonly outbound: readonly HostPort[];
  readonly admin: HostPort;
  readonly metrics: HostPort;
  readonly ready: HostPort;
  readonly app: HostPort | null;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly zone: string;
  readonly accessLog: 'json' | 'text' | 'off';
  readonly threads: number;
  readonly http2Windows: Http2Windows;
  /** Seconds. */
  readonly drain: number;
  /** End when the application has: for a pod that would wait for its sidecar. */
  readonly exitWithApp: boolean;
}

interface Flag {
  readonly name: string;
  /** What stands for its value in the help. */
  readonly value: string;
  /** As it would be written on the command line; empty: none. */
  readonly fallback: readonly string[];
  readonly repeats?: true;
  readonly help: string;
  /** What is wrong with a value, null if nothing is. */
  readonly refuse: (value: string) => string | null;
}

const anyText = (value: string): string | null => (value === '' ? 'must not be empty' : null);
const hostPort = (value: string): string | null =>
  parseHostPort(value) === null ? 'must be HOST:PORT, e.g. 127.0.0.1:15001 or [::]:15006' : null;
const oneOf =
  (...words: readonly string[]): Flag['refuse'] =>
  (value) => {
    if (words.includes(value)) return null;
    const near = nearest(value, words);
    return `must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}${near === null ? '' : `: did you mean ${near}?`}`;
  };
const whole =
  (least: number, most: number): Flag['refuse'] =>
  (value) =>
    /^[0-9]{1,6}$/.test(value) && Number(value) >= least && Number(value) <= most
      ? null
      : `must be a whole number from ${least} to ${most}`;
const labelText = (value: string): string | null =>
  /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(value) ? null : 'must be lower-case letters, digits and "-"';
const httpsUrl = (value: string): string | null =>
  URL.canParse(value) && new URL(value).protocol === 'https:' ? null : 'must be https://HOST:PORT';

/** More threads than this are a slip of the keyboard, not a machine. */
const MAX_THREADS = 256;
/** From the window that HTTP/2 begins with; 64 times the most stays below 2^31, where windows end (RFC 9113 section 6.9). */
const WINDOW_KIB = [64, 16_384] as const;
const KIB = 1024;
/** A day: beyond it nobody waits for a drain. */
const MAX_DRAIN_SECONDS = 86_400;

/** CONTRACT, "Commands". */
const FLAGS: readonly Flag[] = [
  { name: 'policy', value: 'DIR', fallback: ['/etc/weft/policy'], help: 'folder of policy files', refuse: anyText },
  {
    name: 'policy-tests',
    value: 'off|warn|enforce',
    fallback: ['warn'],
    help: "the folder's own tests before a reload is used",
    refuse: oneOf('off', 'warn', 'enforce'),
  },
  {
    name: 'certs',
    value: 'DIR',
    fallback: ['/var/run/secrets/weft'],
    help: 'folder of tls.crt, tls.key and ca.crt',
    refuse: anyText,
  },
  { name: 'ca', value: 'URL', fallback: [], help: 'certificates from this CA by CSR', refuse: httpsUrl },
  { name: 'ca-token', value: 'FILE', fallback: [], help: 'token that the CA asks for', refuse: anyText },
  { name: 'inbound', value: 'HOST:PORT', fallback: ['[::]:15006'], help: 'inbound listener', refuse: hostPort },
  {
    name: 'outbound',
    value: 'HOST:PORT',
    fallback: ['127.0.0.1:15001', '[::1]:15001'],
    repeats: true,
    help: 'outbound listener; may be repeated',
    refuse: hostPort,
  },
  { name: 'admin', value: 'HOST:PORT', fallback: ['127.0.0.1:15000'], help: 'admin server', refuse: hostPort },
  { name: 'metrics', value: 'HOST:PORT', fallback: ['[::]:15020'], help: 'metrics server', refuse: hostPort },
  { name: 'ready', value: 'HOST:PORT', fallback: ['[::]:15021'], help: 'readiness server', refuse: hostPort },
  {
    name: 'app',
    value: 'HOST:PORT',
    fallback: [],
    help: 'the application, for inbound traffic that was sent to the listener itself',
    refuse: hostPort,
  },
  { name: 'namespace', value: 'NAME', fallback: ['default'], help: 'namespace of this workload', refuse: labelText },
  { name: 'service-account', value: 'NAME', fallback: ['default'], help: 'its service account', refuse: anyText },
  { name: 'pod', value: 'NAME', fallback: ['unknown'], help: 'its pod name', refuse: anyText },
  { name: 'labels', value: 'FILE', fallback: [], help: 'its labels, as a Downward API file', refuse: anyText },
  { name: 'zone', value: 'NAME', fallback: [], help: 'its zone', refuse: anyText },
  {
    name: 'access-log',
    value: 'json|text|off',
    fallback: ['off'],
    help: 'access log where no Telemetry document says',
    refuse: oneOf('json', 'text', 'off'),
  },
  { name: 'threads', value: 'N', fallback: ['1'], help: 'data threads', refuse: whole(1, MAX_THREADS) },
  {
    name: 'http2-stream-window',
    value: 'KIB',
    fallback: [String(DEFAULT_HTTP2_WINDOWS.stream / KIB)],
    help: 'flow control window of an HTTP/2 stream',
    refuse: whole(...WINDOW_KIB),
  },
  {
    name: 'http2-connection-window',
    value: 'KIB',
    fallback: [String(DEFAULT_HTTP2_WINDOWS.connection / KIB)],
    help: "of a caller's HTTP/2 connection; of one that all callers share, 64 times as much",
    refuse: whole(...WINDOW_KIB),
  },
  {
    name: 'drain',
    value: 'SECONDS',
    fallback: ['25'],
    help: 'patience of the drain after SIGTERM',
    refuse: whole(0, MAX_DRAIN_SECONDS),
  },
  {
    name: 'exit-with-app',
    value: 'on|off',
    fallback: ['off'],
    help: 'end when the application has; needs one process namespace in the pod',
    refuse: oneOf('on', 'off'),
  },
];

/**
 * Flags win over `WEFT_*` variables, those over defaults. Each error is a line that names the flag or variable. The labels
 * file is read here, so that a wrong path ends the start.
 */
export function parseBootstrap(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Result<Bootstrap, string[]> {
  const problems: string[] = [];
  const given = fromArguments(argv, problems);
  const values = (name: string): readonly string[] => {
    const flag = FLAGS.find((each) => each.name === name) as Flag;
    return given.get(name) ?? fromVariable(flag, env, problems) ?? flag.fallback;
  };
  const text = (name: string): string => values(name)[0] ?? '';
  const optional = (name: string): string | null => values(name)[0] ?? null;
  const address = (name: string): HostPort => parseHostPort(text(name)) ?? { host: '', port: 0 };
  const app = optional('app');
  const bootstrap: Bootstrap = {
    policy: text('policy'),
    policyTests: text('policy-tests') as Bootstrap['policyTests'],
    certs: text('certs'),
    ca: optional('ca'),
    caToken: optional('ca-token'),
    inbound: address('inbound'),
    outbound: values('outbound').map((each) => parseHostPort(each) ?? { host: '', port: 0 }),
    admin: address('admin'),
    metrics: address('metrics'),
    ready: address('ready'),
    app: app === null ? null : parseHostPort(app),
    namespace: text('namespace'),
    serviceAccount: text('service-account'),
    pod: text('pod'),
    labels: readLabels(optional('labels'), problems),
    zone: text('zone'),
    accessLog: text('access-log') as Bootstrap['accessLog'],
    threads: Number(text('threads')),
    http2Windows: {
      stream: KIB * Number(text('http2-stream-window')),
      connection: KIB * Number(text('http2-connection-window')),
    },
    drain: Number(text('drain')),
    exitWithApp: text('exit-with-app') === 'on',
  };
  return problems.length === 0 ? ok(bootstrap) : err(problems);
}

/** What `weft proxy --help` prints. */
export function bootstrapHelp(): string {
  const left = FLAGS.map(({ name, value }) => `  --${name} ${value}`);
  const width = Math.max(...left.map((text) => text.length)) + 2;
  const lines = FLAGS.map(({ help, fallback }, i) => {
    const shown = fallback.length === 0 ? '' : ` (${fallback.join(' and ')})`;
    return `${(left[i] as string).padEnd(width)}${help}${shown}`;
  });
  return `weft proxy [FLAG]…\n\n${lines.join('\n')}\n\nEvery flag has an environment variable: --access-log is WEFT_ACCESS_LOG.\n`;
}

function fromArguments(argv: readonly string[], problems: string[]): Map<string, string[]> {
  const given = new Map<string, string[]>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const flag = FLAGS.find((each) => each.name === name);
    if (flag === undefined) {
      problems.push(unknownFlag(argument));
      // What follows an unknown flag is most likely its value, and no second mistake.
      if (argument.startsWith('--') && inline === undefined && argv[i + 1]?.startsWith('-') === false) i++;
      continue;
    }
    const following = argv[i + 1];
    const value = inline ?? (following?.startsWith('--') === false ? following : undefined);
    if (value === undefined) {
      problems.push(`--${flag.name} needs a value: --${flag.name} ${flag.value}`);
      continue;
    }
    if (inline === undefined) i++;
    const wrong = flag.refuse(value);
    const before = given.get(flag.name) ?? [];
    if (wrong !== null) problems.push(`--${flag.name} ${value}: ${wrong}`);
    else if (before.length > 0 && flag.repeats !== true) problems.push(`--${flag.name} is given twice`);
    given.set(flag.name, [...before, value]);
  }
  return given;
}

function unknownFlag(argument: string): string {
  if (!argument.startsWith('-')) return `${argument}: weft proxy takes flags only (see weft proxy --help)`;
  const name = argument.replace(/^-+/, '').split('=', 1)[0] as string;
  const names = FLAGS.map((flag) => flag.name);
  const advice = suggest(name, names);
  const shown = advice.startsWith('did you mean ') ? advice.replace('mean ', 'mean --') : 'see weft proxy --help';
  return `unknown flag ${argument.split('=', 1)[0]} (${shown})`;
}

/** Several values of a flag that repeats stand in its variable with commas between them. */
function fromVariable(
  flag: Flag,
  env: Readonly<Record<string, string | undefined>>,
  problems: string[],
): readonly string[] | undefined {
  const name = variableOf(flag.name);
  const written = env[name];
  // An empty variable is one that a manifest left unset.
  if (written === undefined || written === '') return undefined;
  const values = flag.repeats === true ? written.split(',').map((value) => value.trim()) : [written];
  for (const value of values) {
    const wrong = flag.refuse(value);
    if (wrong !== null) problems.push(`${name}=${value}: ${wrong}`);
  }
  return values;
}

function variableOf(flag: string): string {
  return `WEFT_${flag.toUpperCase().replaceAll('-', '_')}`;
}

function readLabels(file: string | null, problems: string[]): Record<string, string> {
  if (file === null) return {};
  try {
    const parsed = parseLabels(readFileSync(file, 'utf8'));
    if (parsed.ok) return parsed.value;
    problems.push(`--labels ${file}:${parsed.error}: is no line of the form key="value"`);
  } catch (error) {
    problems.push(`--labels ${file}: cannot be read: ${codeOf(error) ?? String(error)}`);
  }
  return {};
}

/** Labels in the form of a Downward API file: `key="value"` a line, the value quoted as in Go. The error is the line number. */
export function parseLabels(text: string): Result<Record<string, string>, number> {
  const labels: [string, string][] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const match = /^([A-Za-z0-9][A-Za-z0-9._/-]*)="((?:[^"\\]|\\["\\])*)"\s*$/.exec(line);
    if (match === null) return err(i + 1);
    labels.push([match[1] as string, (match[2] as string).replaceAll(/\\(["\\])/g, '$1')]);
  }
  return ok(Object.fromEntries(labels));
}
