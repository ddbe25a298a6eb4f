/** A snapshot without a document, for tests that drive the data path in their own process: plain text is let in. */
import type { Snapshot } from '../../proxy/config/snapshot.ts';

export const OPEN_SNAPSHOT: Snapshot = {
  hash: '',
  mesh: {
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    clusterDomain: 'cluster.local',
    rootNamespace: 'istio-system',
    outboundTrafficPolicy: 'ALLOW_ANY',
    pathNormalization: 'BASE',
    trustedForwarders: [],
  },
  services: [],
  clusters: [],
  inbound: { mode: 'DISABLE', portModes: {} },
  authorizations: [],
  ownAuthorizations: [],
  telemetry: { samplingPercent: null, accessLog: null },
};
