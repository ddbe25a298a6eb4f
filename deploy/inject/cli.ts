/** `weft inject`: adds the sidecar to manifests, or takes it out. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { codeOf } from '../../shared/error-code.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../shared/exit-codes.ts';
import { formatProblem } from '../../shared/problem.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { ejectText, injectText } from './manifests.ts';
import { DEFAULTS, type InjectDefaults } from './settings.ts';

export interface InjectStreams {
  /** The whole of standard input. */
  readInput(): string;
  out(text: string): void;
  err(line: string): void;
}

const USAGE = `usage: weft inject -f FILE|- [-f FILE]... [--uninject] [FLAG]...

Prints the manifests with a sidecar in every pod (Deployment, StatefulSet, DaemonSet, ReplicaSet,
ReplicationController, Job, CronJob, Pod and lists of them); comments, order and layout stay. What was injected before
is made anew. --uninject gives back the text from before, byte for byte.

  --image IMAGE        the sidecar's (${DEFAULTS.image})
  --init-image IMAGE   that of weft init, with nft in it (${DEFAULTS.initImage})
  --classic            an ordinary container, for clusters before 1.29
  --ca URL             where certificates come from (${DEFAULTS.ca})
  --ca-bundle FILE     root of the CA's own certificate; without it ConfigMap weft-ca-root of the pod's namespace has it
`;

/** The exit code: 0, 1 where a file is wrong (nothing is printed then), 2 usage. */
export function runInject(args: readonly string[], streams: InjectStreams): number {
  const parsed = parseFlags(args);
  if (typeof parsed === 'string') {
    streams.err(`weft inject: ${parsed}`);
    streams.err(USAGE);
    return EXIT_USAGE;
  }
  if (parsed.help) {
    streams.out(USAGE);
    return 0;
  }
  const defaults = defaultsOf(parsed);
  if (typeof defaults === 'string') return failed(streams, defaults);
  const texts: string[] = [];
  let good = true;
  for (const file of parsed.files) {
    const text = read(file, streams);
    if (!text.ok) return failed(streams, `${file} cannot be read (${text.error})`);
    const name = file === '-' ? 'standard input' : file;
    const edited = parsed.uninject ? ejectText(name, text.value) : injectText(name, text.value, defaults);
    if (edited.ok) {
      texts.push(edited.value.text);
      for (const note of edited.value.notes) streams.err(`weft inject: ${note}`);
    } else {
      good = false;
      for (const problem of edited.error) streams.err(formatProblem(problem));
    }
  }
  if (!good) return EXIT_FAILED;
  streams.out(joined(texts));
  return 0;
}

interface Parsed {
  readonly files: readonly string[];
  readonly uninject: boolean;
  readonly help: boolean;
  readonly classic: boolean;
  readonly image: string | undefined;
  readonly initImage: string | undefined;
  readonly ca: string | undefined;
  readonly caBundle: string | undefined;
}

function parseFlags(args: readonly string[]): Parsed | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        file: { type: 'string', short: 'f', multiple: true },
        uninject: { type: 'boolean' },
        help: { type: 'boolean' },
        classic: { type: 'boolean' },
        image: { type: 'string' },
        'init-image': { type: 'string' },
        ca: { type: 'string' },
        'ca-bundle': { type: 'string' },
      },
    });
    const files = values.file ?? [];
    if (positionals.length > 0) return `files are named with -f: -f ${positionals[0]}`;
    if (files.length === 0 && values.help !== true) return '-f FILE is missing (- is standard input)';
    return {
      files,
      uninject: values.uninject === true,
      help: values.help === true,
      classic: values.classic === true,
      image: values.image,
      initImage: values['init-image'],
      ca: values.ca,
      caBundle: values['ca-bundle'],
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function defaultsOf(parsed: Parsed): InjectDefaults | string {
  const ca = parsed.ca ?? DEFAULTS.ca;
  if (!URL.canParse(ca) || !ca.startsWith('https://')) return `--ca ${ca}: must be an https URL`;
  const bundle = parsed.caBundle === undefined ? null : readBundle(parsed.caBundle);
  if (bundle === undefined) return `--ca-bundle ${parsed.caBundle}: is no readable PEM certificate`;
  return {
    image: parsed.image ?? DEFAULTS.image,
    initImage: parsed.initImage ?? DEFAULTS.initImage,
    nativeSidecar: !parsed.classic,
    ca,
    caBundle: bundle,
  };
}

/** The PEM text of a file; undefined where it is none. */
export function readBundle(file: string): string | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    new X509Certificate(text);
    return text;
  } catch {
    return undefined;
  }
}

/** The error is Node's word for it. */
function read(file: string, streams: InjectStreams): Result<string, string> {
  try {
    return ok(file === '-' ? streams.readInput() : readFileSync(file, 'utf8'));
  } catch (error) {
    return err(codeOf(error) ?? String(error));
  }
}

function failed(streams: InjectStreams, message: string): number {
  streams.err(`weft inject: ${message}`);
  return EXIT_FAILED;
}

/** Several files are several documents; the line that parts them begins a line whatever the file before ends with. */
function joined(texts: readonly string[]): string {
  return texts
    .map((text, i) => {
      const before = texts[i - 1];
      const mark = before === undefined || text.startsWith('---') ? '' : '---\n';
      return (before === undefined || /(?:^|\n)$/.test(before) ? '' : '\n') + mark + text;
    })
    .join('');
}
