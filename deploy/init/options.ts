/**
 * What `weft init` is told: by flags, else `WEFT_*` variables, else the pod's annotations (`weft.dev/NAME` before
 * `traffic.sidecar.istio.io/NAME`), else defaults. Meanings are Istio's (Resource Annotations reference).
 */
import { parseLabels } from '../../proxy/config/bootstrap.ts';
import { suggest } from '../../proxy/config/near.ts';
import { Cidr, formatIp } from '../../shared/address.ts';
import { codeOf } from '../../shared/error-code.ts';
import { err, ok, type Result } from '../../shared/result.ts';

/** What is captured and what is not; everything checked and in one spelling. */
export interface Redirect {
  readonly outboundPort: number;
  readonly inboundPort: number;
  /** Whose own connections pass: the proxy's. */
  readonly uid: number;
  readonly gid: number;
  /** Blocks as `ADDRESS/BITS`, host bits zero. */
  readonly includeOutboundIPRanges: readonly string[] | '*';
  readonly excludeOutboundIPRanges: readonly string[];
  /** Captured whatever their address. */
  readonly includeOutboundPorts: readonly number[];
  readonly excludeOutboundPorts: readonly number[];
  readonly includeInboundPorts: readonly number[] | '*';
  /** Besides weft's own metrics and readiness. */
  readonly excludeInboundPorts: readonly number[];
  readonly excludeInterfaces: readonly string[];
}

export type Backend = 'nft' | 'iptables';

export interface InitOptions {
  readonly redirect: Redirect;
  readonly action: 'apply' | 'remove' | 'print';
  /** null: nft, or iptables where nft is missing. */
  readonly backend: Backend | null;
}

interface Setting {
  readonly flag: string;
  readonly value: string;
  readonly fallback: string;
  readonly help: string;
  /** Name after the prefix, if annotations may say it. */
  readonly annotation?: string;
  readonly refuse: (value: string) => string | null;
}

const WHOLE = /^(?:0|[1-9][0-9]{0,9})$/;

const list = (text: string): string[] => (text.trim() === '' ? [] : text.split(',').map((item) => item.trim()));
const each =
  (wrong: (item: string) => boolean, what: string): Setting['refuse'] =>
  (value) => {
    const bad = list(value).find(wrong);
    return bad === undefined ? null : `holds "${bad}", which is no ${what}`;
  };
const orAll =
  (refuse: Setting['refuse']): Setting['refuse'] =>
  (value) =>
    value.trim() === '*' ? null : refuse(value);

const isPort = (text: string): boolean => WHOLE.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
const ports = each((item) => !isPort(item), 'port number');
const ranges = each((item) => Cidr.parse(item) === null, 'address block, e.g. 10.0.0.0/8');
// As the kernel takes them (IFNAMSIZ 16), less what would have to be quoted.
const interfaces = each((item) => !/^[A-Za-z0-9_.:@-]{1,15}$/.test(item), 'network interface name');
const onePort = (value: string): string | null => (isPort(value) ? null : 'must be a port number');
const id = (value: string): string | null =>
  WHOLE.test(value) && Number(value) < 2 ** 32 ? null : 'must be a number: names are not looked up';

const SETTINGS: readonly Setting[] = [
  {
    flag: 'include-outbound-ip-ranges',
    value: 'CIDR,…|*',
    fallback: '*',
    help: 'destinations to capture; empty: none',
    annotation: 'includeOutboundIPRanges',
    refuse: orAll(ranges),
  },
  {
    flag: 'exclude-outbound-ip-ranges',
    value: 'CIDR,…',
    fallback: '',
    help: 'destinations to leave alone',
    annotation: 'excludeOutboundIPRanges',
    refuse: ranges,
  },
  {
    flag: 'include-outbound-ports',
    value: 'PORT,…',
    fallback: '',
    help: 'ports to capture whatever the destination',
    annotation: 'includeOutboundPorts',
    refuse: ports,
  },
  {
    flag: 'exclude-outbound-ports',
    value: 'PORT,…',
    fallback: '',
    help: 'ports to leave alone',
    annotation: 'excludeOutboundPorts',
    refuse: ports,
  },
  {
    flag: 'include-inbound-ports',
    value: 'PORT,…|*',
    fallback: '*',
    help: "the application's ports to capture; empty: none",
    annotation: 'includeInboundPorts',
    refuse: orAll(ports),
  },
  {
    flag: 'exclude-inbound-ports',
    value: 'PORT,…',
    fallback: '',
    help: "the application's ports to leave alone",
    annotation: 'excludeInboundPorts',
    refuse: ports,
  },
  {
    flag: 'exclude-interfaces',
    value: 'NAME,…',
    fallback: '',
    help: 'network interfaces to leave alone',
    annotation: 'excludeInterfaces',
    refuse: interfaces,
  },
  { flag: 'outbound-port', value: 'PORT', fallback: '15001', help: "weft's outbound listener", refuse: onePort },
  { flag: 'inbound-port', value: 'PORT', fallback: '15006', help: "weft's inbound listener", refuse: onePort },
  { flag: 'uid', value: 'NUMBER', fallback: '1337', help: 'user that weft runs as', refuse: id },
  { flag: 'gid', value: 'NUMBER', fallback: '1337', help: 'group that weft runs as', refuse: id },
  { flag: 'annotations', value: 'FILE', fallback: '', help: "the pod's, as a Downward API file", refuse: () => null },
  {
    flag: 'backend',
    value: 'nft|iptables',
    fallback: '',
    help: 'nft, or iptables where nft is missing',
    refuse: (value) => (/^(?:|nft|iptables)$/.test(value) ? null : 'must be nft or iptables'),
  },
];

const SWITCHES: Readonly<Record<string, string>> = {
  'dry-run': 'print the rules instead of applying them',
  remove: 'take the redirect away',
  help: 'this text',
};

export const PREFIXES = ['weft.dev/', 'traffic.sidecar.istio.io/'] as const;

/** By name after the prefix: what is wrong with a value, or null. Injection says it before a pod is made that cannot start. */
export const REDIRECT_ANNOTATIONS: ReadonlyMap<string, Setting['refuse']> = new Map(
  SETTINGS.flatMap(({ annotation, refuse }) => (annotation === undefined ? [] : [[annotation, refuse] as const])),
);

/** What `weft init --help` prints. */
export function initHelp(): string {
  const rows = [
    ...SETTINGS.map(({ flag, value, help, fallback }) => [
      `--${flag} ${value}`,
      fallback === '' ? help : `${help} (${fallback})`,
    ]),
    ...Object.entries(SWITCHES).map(([flag, help]) => [`--${flag}`, help]),
  ] as [string, string][];
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return `weft init [FLAG]…

Redirects the pod's TCP traffic to weft: outbound to --outbound-port, inbound to --inbound-port. Needs NET_ADMIN and
another user than weft's. Running it again replaces the rules at once.

${rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join('\n')}

Every flag with a value has an environment variable: --exclude-inbound-ports is WEFT_EXCLUDE_INBOUND_PORTS. The lists can
also be annotations of the pod: traffic.sidecar.istio.io/excludeInboundPorts, weft.dev/excludeInboundPorts and so on.
`;
}

/** Each error is a line that names the flag, variable or annotation. `read` reads a text file, or throws. */
export function parseInit(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  read: (file: string) => string,
): Result<InitOptions, string[]> {
  const problems: string[] = [];
  const given = fromArguments(args, problems);
  const check = (setting: Setting, name: string, value: string): string => {
    const wrong = setting.refuse(value);
    if (wrong !== null) problems.push(`${name}: ${wrong}`);
    return value;
  };
  const written = (setting: Setting): string | undefined => {
    const flag = given.get(setting.flag);
    if (flag !== undefined) return check(setting, `--${setting.flag}`, flag);
    const name = `WEFT_${setting.flag.toUpperCase().replaceAll('-', '_')}`;
    const variable = env[name];
    // An empty variable is one that a manifest left unset.
    return variable === undefined || variable === '' ? undefined : check(setting, name, variable);
  };
  const file = written(settingOf('annotations')) ?? '';
  const annotations = file === '' ? new Map<string, string>() : readAnnotations(file, read, problems);
  const text = (flag: string): string => {
    const setting = settingOf(flag);
    const own = written(setting);
    if (own !== undefined) return own;
    const prefix = PREFIXES.find((each) => annotations.has(each + setting.annotation));
    if (prefix === undefined) return setting.fallback;
    const name = prefix + setting.annotation;
    return check(setting, `annotation ${name}`, annotations.get(name) as string);
  };
  const redirect: Redirect = {
    outboundPort: Number(text('outbound-port')),
    inboundPort: Number(text('inbound-port')),
    uid: Number(text('uid')),
    gid: Number(text('gid')),
    includeOutboundIPRanges: all(text('include-outbound-ip-ranges'), block),
    excludeOutboundIPRanges: list(text('exclude-outbound-ip-ranges')).map(block),
    includeOutboundPorts: list(text('include-outbound-ports')).map(Number),
    excludeOutboundPorts: list(text('exclude-outbound-ports')).map(Number),
    includeInboundPorts: all(text('include-inbound-ports'), Number),
    excludeInboundPorts: list(text('exclude-inbound-ports')).map(Number),
    excludeInterfaces: list(text('exclude-interfaces')),
  };
  const backend = text('backend');
  if (problems.length > 0) return err(problems);
  const action = given.has('dry-run') ? 'print' : given.has('remove') ? 'remove' : 'apply';
  return ok({ redirect, action, backend: backend === '' ? null : (backend as Backend) });
}

function settingOf(flag: string): Setting {
  return SETTINGS.find((setting) => setting.flag === flag) as Setting;
}

function all<T>(text: string, one: (item: string) => T): T[] | '*' {
  return text.trim() === '*' ? '*' : list(text).map(one);
}

/** One spelling of a block: host bits zero. What is no block stays as it is; it has been reported. */
function block(text: string): string {
  const cidr = Cidr.parse(text);
  if (cidr === null) return text;
  const bytes = cidr.network.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, cidr.prefix - 8 * i));
    return byte & (0xff << (8 - bits));
  });
  return `${formatIp(bytes)}/${cidr.prefix}`;
}

function fromArguments(args: readonly string[], problems: string[]): Map<string, string> {
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as string;
    const [, name = '', inline] = /^--([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    const isSwitch = Object.hasOwn(SWITCHES, name);
    if (!isSwitch && !SETTINGS.some(({ flag }) => flag === name)) {
      const known = [...SETTINGS.map(({ flag }) => flag), ...Object.keys(SWITCHES)].map((flag) => `--${flag}`);
      problems.push(`unknown argument ${argument.split('=', 1)[0]} (${suggest(argument, known)})`);
      // What follows an unknown flag is most likely its value, and no second mistake.
      if (inline === undefined && args[i + 1]?.startsWith('-') === false) i++;
      continue;
    }
    const value = isSwitch ? (inline === undefined ? '' : undefined) : (inline ?? args[++i]);
    if (value === undefined) problems.push(`--${name} ${isSwitch ? 'takes no value' : 'needs a value'}`);
    else if (given.has(name)) problems.push(`--${name} is given twice`);
    if (value !== undefined) given.set(name, value);
  }
  if (given.has('dry-run') && given.has('remove')) problems.push('--dry-run and --remove do not go together');
  return given;
}

/** Only the lines that bear on the redirect are read: other annotations hold anything, quoted as Go does it. */
function readAnnotations(file: string, read: (file: string) => string, problems: string[]): Map<string, string> {
  let text: string;
  try {
    text = read(file);
  } catch (error) {
    problems.push(`--annotations ${file}: cannot be read: ${codeOf(error) ?? String(error)}`);
    return new Map();
  }
  const names = [...REDIRECT_ANNOTATIONS.keys()];
  const ours = text.split('\n').filter((line) => {
    const name = line.split('=', 1)[0] as string;
    if (name.startsWith(PREFIXES[1]) && !names.includes(name.slice(PREFIXES[1].length)))
      problems.push(`annotation ${name} is not supported (${suggest(name.slice(PREFIXES[1].length), names)})`);
    return PREFIXES.some((prefix) => name.startsWith(prefix) && names.includes(name.slice(prefix.length)));
  });
  const parsed = parseLabels(ours.join('\n'));
  if (parsed.ok) return new Map(Object.entries(parsed.value));
  problems.push(`--annotations ${file}: is no line of the form key="value": ${ours[parsed.error - 1]}`);
  return new Map();
}
