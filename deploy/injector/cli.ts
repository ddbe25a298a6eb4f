/** `weft injector`: the mutating admission webhook that adds the sidecar to pods as they are made. */
import { parseArgs } from 'node:util';
import { formatHostPort, type HostPort, parseHostPort } from '../../shared/address.ts';
import { systemClock } from '../../shared/clock.ts';
import { EXIT_FAILED, EXIT_USAGE } from '../../shared/exit-codes.ts';
import { systemRandom } from '../../shared/random.ts';
import { readBundle } from '../inject/cli.ts';
import { DEFAULTS, type InjectDefaults } from '../inject/settings.ts';
import { type CertificateSource, IssuedCertificate, MountedCertificate } from './certificate.ts';
import { Registration, type RegistrationOptions } from './registration.ts';
import { InjectorServer } from './server.ts';

export interface InjectorLines {
  out(line: string): void;
  err(line: string): void;
}

const USAGE = `usage: weft injector (--issuer DIR [--dns NAME]... | --certs DIR) [FLAG]...

  --issuer DIR         a CA (ca.crt, ca.key) that the serving certificate comes from, renewed by itself
  --dns NAME           name that API servers call (weft-injector.weft-system.svc); may be repeated
  --certs DIR          or a mounted certificate: tls.crt, tls.key, ca.crt; used anew when it changes
  --listen HOST:PORT   ([::]:8443)
  --register NAME      the MutatingWebhookConfiguration whose caBundle is kept, with the own service account
  --image IMAGE        the sidecar's (${DEFAULTS.image})
  --init-image IMAGE   that of weft init, with nft in it (${DEFAULTS.initImage})
  --classic            ordinary containers, for clusters before 1.29
  --ca URL             where sidecars get certificates from (${DEFAULTS.ca})
  --ca-bundle FILE     root of the CA's own certificate; without it ConfigMap weft-ca-root of the pod's namespace has it
`;

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

interface Parsed {
  readonly source: CertificateSource;
  readonly listen: HostPort;
  readonly register: string | null;
  readonly defaults: () => InjectDefaults;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Serves until `stop` is aborted, then answers 0; 1 where it cannot start, 2 usage. */
export async function runInjector(
  args: readonly string[],
  env: Environment,
  lines: InjectorLines,
  stop: AbortSignal,
): Promise<number> {
  const parsed = parse(args);
  if (parsed === null) {
    lines.out(USAGE);
    return 0;
  }
  if (typeof parsed === 'string') {
    lines.err(`weft injector: ${parsed}`);
    lines.err(USAGE);
    return EXIT_USAGE;
  }
  const log = (line: Readonly<Record<string, string>>): void =>
    lines.out(JSON.stringify({ time: new Date().toISOString(), ...line }));
  const registration = parsed.register === null ? null : registrationOf(parsed.register, env, log);
  let server: InjectorServer | null = null;
  const first = await parsed.source.start(
    (certificate) => {
      server?.renew(certificate);
      registration?.use(certificate.ca);
      log({ message: 'certificate renewed' });
    },
    (problem) => log({ message: 'the certificate cannot be renewed: the last one stays', problem }),
  );
  try {
    if (!first.ok) throw new Error(first.error);
    server = new InjectorServer(first.value, parsed.defaults, log);
    const port = await server.listen(parsed.listen.host, parsed.listen.port);
    registration?.use(first.value.ca);
    log({ message: 'listening', address: formatHostPort(parsed.listen.host, port) });
    await aborted(stop);
    await server.close();
    return 0;
  } catch (error) {
    lines.err(`weft injector: ${(error as Error).message}`);
    return EXIT_FAILED;
  } finally {
    parsed.source.close();
    registration?.close();
  }
}

function registrationOf(name: string, env: Environment, log: RegistrationOptions['log']): Registration {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? 'kubernetes.default.svc';
  const port = Number(env['KUBERNETES_SERVICE_PORT'] ?? '443');
  return new Registration({
    api: `https://${formatHostPort(host, port)}`,
    account: env['WEFT_ACCOUNT_DIR'] ?? ACCOUNT,
    name,
    clock: systemClock,
    random: systemRandom(),
    log,
  });
}

/** null: `--help`; a sentence where the flags are wrong. */
function parse(args: readonly string[]): Parsed | string | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        issuer: { type: 'string' },
        dns: { type: 'string', multiple: true },
        certs: { type: 'string' },
        listen: { type: 'string' },
        register: { type: 'string' },
        image: { type: 'string' },
        'init-image': { type: 'string' },
        classic: { type: 'boolean' },
        ca: { type: 'string' },
        'ca-bundle': { type: 'string' },
        help: { type: 'boolean' },
      },
    });
    if (values.help === true) return null;
    const listen = parseHostPort(values.listen ?? '[::]:8443');
    if (listen === null) return `--listen ${values.listen}: must be HOST:PORT`;
    const ca = values.ca ?? DEFAULTS.ca;
    if (!URL.canParse(ca) || !ca.startsWith('https://')) return `--ca ${ca}: must be an https URL`;
    const source = sourceOf(values.issuer, values.certs, values.dns ?? ['weft-injector.weft-system.svc']);
    if (typeof source === 'string') return source;
    const file = values['ca-bundle'];
    let bundle = file === undefined ? null : readBundle(file);
    if (bundle === undefined) return `--ca-bundle ${file}: is no readable PEM certificate`;
    const fixed = {
      image: values.image ?? DEFAULTS.image,
      initImage: values['init-image'] ?? DEFAULTS.initImage,
      nativeSidecar: values.classic !== true,
      ca,
    };
    // A root is replaced through a bundle of both, which a mounted ConfigMap brings.
    const defaults = (): InjectDefaults => {
      if (file !== undefined) bundle = readBundle(file) ?? bundle ?? null;
      return { ...fixed, caBundle: bundle ?? null };
    };
    return { source, listen, register: values.register ?? null, defaults };
  } catch (error) {
    return (error as Error).message;
  }
}

function sourceOf(
  issuer: string | undefined,
  certs: string | undefined,
  dnsNames: readonly string[],
): CertificateSource | string {
  if ((issuer === undefined) === (certs === undefined)) return 'give one of --issuer and --certs';
  if (certs !== undefined) return new MountedCertificate(certs, systemClock);
  const spiffeId = 'spiffe://cluster.local/weft/injector';
  return new IssuedCertificate({ dir: issuer ?? '', spiffeId, dnsNames, clock: systemClock });
}

async function aborted(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stop.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
