/** A cluster that no policy describes: the own application, or a stranger's destination. Defaults throughout. */
import { callSettings } from './compile/call-settings.ts';
import { TRAFFIC_DEFAULTS } from './compile/traffic.ts';
import type { ClusterSpec, EndpointSpec } from './snapshot.ts';

export function directCluster(key: string, endpoint: EndpointSpec): ClusterSpec {
  return {
    key,
    namespace: '',
    service: endpoint.address,
    port: endpoint.port,
    protocol: 'auto',
    source: { file: '', line: 0, name: key },
    meshTls: endpoint.meshTls,
    backendTls: null,
    identities: [],
    endpoints: [endpoint],
    ...callSettings({ ...TRAFFIC_DEFAULTS, type: 'RoundRobin' }),
    upgrades: TRAFFIC_DEFAULTS.upgrades,
  };
}
