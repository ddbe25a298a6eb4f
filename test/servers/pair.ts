/**
 * A server of one of the great protocols behind a pair of sidecars, and a local port on which its clients find it. The
 * two sidecars are processes of their own and each calls the other; one way is bare, on the other every write is cut:
 *
 *   client → forwarder → outbound of `cut` ⇒ mutual TLS ⇒ inbound of `whole` → server
 *   client → forwarder → shim → outbound of `whole` ⇒ mutual TLS ⇒ shim → inbound of `cut` → shim → server
 */
import { Random } from '../../shared/random.ts';
import { meshed, TinyMesh } from '../integration/mesh.ts';
import { spiffeIdOf } from '../support/certificates.ts';
import { startForwarder } from '../support/forwarder.ts';
import { type Shim, type Slicing, startShim } from '../support/shim.ts';
import type { Weft } from '../support/weft.ts';

/** How a connection is carried: what policy says that the port speaks, and what becomes of each write. */
export interface Carriage {
  readonly name: string;
  /** null: nothing is declared, and sidecars look for themselves. */
  readonly appProtocol: string | null;
  readonly slicing: Slicing;
  /** Bytes of bulk that are worth their time when they are cut so. */
  readonly bulk: number;
}

const WHOLE = 10 * 1024 * 1024;

/** Each functional test of a server runs over all of these; `declared` is its `appProtocol`. */
export function carriages(declared: string): readonly Carriage[] {
  return [
    { name: 'a declared port', appProtocol: declared, slicing: 'whole', bulk: WHOLE },
    { name: 'an undeclared port', appProtocol: null, slicing: 'whole', bulk: WHOLE },
    { name: 'a declared port, cut at random places', appProtocol: declared, slicing: 'random', bulk: 40_000 },
    { name: 'an undeclared port, cut to single bytes', appProtocol: null, slicing: 'byte', bulk: 1_000 },
  ];
}

/** Where a client finds the server, on loopback. */
export interface Way {
  /** Every connection to it is a tunnel to the server. */
  readonly port: number;
  /** The outbound listener, for clients that name the authority themselves. */
  readonly outboundPort: number;
  readonly authority: string;
}

const SERVICE_PORT = 4000;
const SEED = 8;
/** Service and service account of the sidecar that each way leads to. */
const WHOLE_SERVICE = 'whole';
const CUT_SERVICE = 'cut';

interface Parts {
  readonly mesh: TinyMesh;
  readonly whole: Weft;
  readonly cut: Weft;
  readonly shims: readonly Shim[];
  /** Port in front of the inbound sidecar of the cut way. */
  readonly cutEndpoint: number;
  readonly wholeWay: Way;
  readonly cutWay: Way;
}

/** Whoever started it disposes of it; the server is not its own. */
export class ServerPair implements AsyncDisposable {
  readonly mesh: TinyMesh;
  private readonly parts: Parts;
  /** Undefined: no Service has been written yet. */
  private declared: string | null | undefined = undefined;

  constructor(parts: Parts) {
    this.mesh = parts.mesh;
    this.parts = parts;
  }

  /** Makes the way so; open connections keep the way they have. */
  async carry({ appProtocol, slicing }: Carriage): Promise<Way> {
    const { shims, wholeWay, cutWay } = this.parts;
    if (this.declared !== appProtocol) await this.declare(appProtocol);
    for (const shim of shims) shim.slicing = slicing;
    return slicing === 'whole' ? wholeWay : cutWay;
  }

  /** The inbound sidecar on the way that a carriage takes, and who its callers are. */
  callee({ slicing }: Pick<Carriage, 'slicing'>): { readonly weft: Weft; readonly callers: string } {
    const { whole, cut } = this.parts;
    return slicing === 'whole'
      ? { weft: whole, callers: spiffeIdOf(`default/${CUT_SERVICE}`) }
      : { weft: cut, callers: spiffeIdOf(`default/${WHOLE_SERVICE}`) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }

  /** In both policies: a callee's port is declared by the Service that leads to it. */
  private async declare(appProtocol: string | null): Promise<void> {
    const { mesh, whole, cut, cutEndpoint } = this.parts;
    const service = (name: string, endpoint: number): string[] =>
      meshed({ name, port: SERVICE_PORT, endpoints: [endpoint], ...(appProtocol === null ? {} : { appProtocol }) });
    const toWhole = service(WHOLE_SERVICE, whole.ports.inbound);
    await Promise.all([
      mesh.apply(whole, WHOLE_SERVICE, [...toWhole, ...service(CUT_SERVICE, cutEndpoint)]),
      mesh.apply(cut, CUT_SERVICE, [...toWhole, ...service(CUT_SERVICE, cut.ports.inbound)]),
    ]);
    this.declared = appProtocol;
  }
}

/** Sidecars for the server on this loopback port. */
export async function startPair(serverPort: number): Promise<ServerPair> {
  const mesh = new TinyMesh();
  try {
    return new ServerPair(await startParts(mesh, serverPort));
  } catch (error) {
    await mesh[Symbol.asyncDispose]();
    throw error;
  }
}

async function startParts(mesh: TinyMesh, serverPort: number): Promise<Parts> {
  const random = new Random(SEED);
  const shim = async (targetPort: number): Promise<Shim> =>
    mesh.own(await startShim({ targetPort, random: () => random.float() }));
  const way = async (service: string, outboundPort: number): Promise<Way> => {
    const authority = `${service}:${SERVICE_PORT}`;
    const { port } = mesh.own(await startForwarder({ outboundPort, authority }));
    return { port, outboundPort, authority };
  };

  const flags = ['--access-log', 'json'];
  const serverShim = await shim(serverPort);
  const [whole, cut] = await Promise.all([
    mesh.start({ account: WHOLE_SERVICE, app: serverPort, flags }),
    mesh.start({ account: CUT_SERVICE, app: serverShim.port, flags }),
  ]);
  const inboundShim = await shim(cut.ports.inbound);
  const outboundShim = await shim(whole.ports.outbound);
  return {
    mesh,
    whole,
    cut,
    shims: [serverShim, inboundShim, outboundShim],
    cutEndpoint: inboundShim.port,
    wholeWay: await way(WHOLE_SERVICE, cut.ports.outbound),
    cutWay: await way(CUT_SERVICE, outboundShim.port),
  };
}
