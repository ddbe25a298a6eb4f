/** What the AuthorizationPolicies at a backend's far end say of the caller, as far as they are known here. */
import { FAILURES } from '../../shared/errors.ts';
import type { LinkedSnapshot } from '../config/link.ts';
import { Authorization, type Peer } from '../policy/authorization.ts';
import type { Cluster } from '../upstream/cluster.ts';
import type { AuthorizationView, Verdict } from './explanation.ts';

export interface Access {
  readonly views: readonly AuthorizationView[];
  /** null: the caller is let in. */
  readonly denied: Verdict | null;
}

const OPEN: Access = { views: [], denied: null };

/**
 * `from` is the caller's SPIFFE ID; undefined: nobody asks as anybody, and nothing is judged. Its address is not known, so
 * it is in no block. Endpoints without mutual TLS have no sidecar that would judge.
 */
export function accessTo({ snapshot }: LinkedSnapshot, cluster: Cluster, from: string | undefined): Access {
  const endpoint = [...cluster.endpoints.values()].find(({ meshTls }) => meshTls);
  const { namespace, service: name } = cluster.spec;
  const service = snapshot.services.find((each) => each.namespace === namespace && each.name === name);
  if (from === undefined || endpoint === undefined || service === undefined) return OPEN;
  const specs = snapshot.authorizations.filter(({ key }) => service.authorizations.includes(key));
  const authorization = Authorization.of(specs);
  if (authorization === null) return OPEN;
  const peer: Peer = { principal: from, sourceAddress: '' };
  const destination = { host: endpoint.address, port: endpoint.port };
  const fits = new Set(
    authorization
      .explain(peer, destination)
      .filter((rule) => rule.fits)
      .map(({ policy, rule }) => `${policy} ${rule}`),
  );
  const views = specs.flatMap(({ key, action, source, rules }, i): AuthorizationView[] => {
    const { file, line } = source;
    if (rules.length === 0) return [{ policy: key, action, rule: null, fits: false, file, line }];
    return rules.map((rule, j) => {
      const at = { file: rule.source.file, line: rule.source.line };
      return { policy: key, action, rule: j, fits: fits.has(`${i} ${j}`), ...at };
    });
  });
  const verdict = authorization.judge(peer, destination);
  return { views, denied: verdict.admitted ? null : denial(verdict.why) };
}

function denial(detail: string): Verdict {
  const { status, word, advice } = FAILURES.denied;
  return { outcome: 'refused', status, word, detail, advice, headers: [] };
}
