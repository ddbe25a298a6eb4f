/** The mesh's TLS to an endpoint: both sides show SPIFFE IDs, and the far one must be a name that may serve the Service. */
import type { SecureContext, TLSSocket } from 'node:tls';
import { parseSpiffeId } from '../../certs/identity.ts';
import { mayServe, type TrustSettings } from '../../certs/verify.ts';
import { FAILURES } from '../../shared/errors.ts';
import { err, ok, type Result } from '../../shared/result.ts';
import { judge, type MeshPeer, type MeshTls } from '../net/mesh-tls.ts';
import type { SessionTicket } from './endpoint.ts';
import type { Refusal, SecureDial } from './secure-dial.ts';
import type { ClusterSpec } from './spec.ts';

export class MeshDial implements SecureDial {
  readonly secureContext: SecureContext;
  readonly serverName: string;
  readonly alpn: readonly string[];
  readonly trustHash: string;
  readonly ownFingerprint: string;
  readonly ofMesh = true;
  private readonly namespace: string;
  private readonly identities: readonly string[];
  private readonly trust: TrustSettings;

  /** For as long as this certificate is ours and this policy in force. */
  constructor(
    { clientContext, identity }: Pick<MeshTls, 'clientContext' | 'identity'>,
    { namespace, service, identities }: Pick<ClusterSpec, 'namespace' | 'service' | 'identities'>,
    alpn: readonly string[],
    trust: TrustSettings,
  ) {
    this.secureContext = clientContext;
    this.serverName = `${service}.${namespace}.svc`;
    this.alpn = alpn;
    this.trustHash = identity.bundleHash;
    this.ownFingerprint = identity.fingerprint;
    this.namespace = namespace;
    this.identities = identities;
    this.trust = trust;
  }

  identify(socket: TLSSocket, ticket: SessionTicket | null): Result<MeshPeer, Refusal> {
    const judged = ticket === null ? judge(socket, this.trustHash, this.trust, 'server') : ok(resumed(socket, ticket));
    if (!judged.ok) return judged;
    const { spiffeId } = judged.value;
    const id = parseSpiffeId(spiffeId);
    const { namespace, identities, trust } = this;
    if (id !== null && mayServe(id, { namespace, identities, ...trust })) return judged;
    return err({ failure: FAILURES.upstreamNotAllowed, detail: `${spiffeId} may not serve ${this.serverName}` });
  }
}

/** A resumed client has no certificate to look at: what counts is what was verified when the ticket was made. */
export function resumed(socket: TLSSocket, { spiffeId, notAfter, bundleHash }: SessionTicket): MeshPeer {
  return { spiffeId, certificateHash: '', notAfter, bundleHash, alpn: socket.alpnProtocol || '' };
}
