/** What in a pod is weft's own, and what of the application would collide with it. */
import { parseBootstrap } from '../../proxy/config/bootstrap.ts';
import type { Complaint } from '../../proxy/config/wording.ts';
import type { Container, PodSpec } from './pod.ts';
import { INIT, SIDECAR, WEFT_USER } from './sidecar.ts';

/** By port: an injected sidecar is told no addresses, and so listens where `weft proxy` does without flags. */
const LISTENERS: ReadonlyMap<number, string> = listeners();

export function isOurs({ name }: Container): boolean {
  return name === SIDECAR || name === INIT;
}

export function isOurVolume(name: string): boolean {
  return /^weft-(?:pod|policy|certs|token)$/.test(name);
}

/** What would keep the pod from working with weft beside it. `spec` is without weft. */
export function conflictsOf(spec: PodSpec): Complaint[] {
  const all = (['initContainers', 'containers'] as const).flatMap((list) =>
    (spec[list] ?? []).map((container, i) => ({ container, path: ['spec', list, i] })),
  );
  const named = all
    .filter(({ container }) => isOurs(container))
    .map(({ container, path }) => conflict([...path, 'name'], `is "${container.name}", which is weft's own`));
  const user = (['runAsUser', 'runAsGroup'] as const).flatMap((field) =>
    all
      .filter(({ container }) => (container.securityContext?.[field] ?? spec.securityContext?.[field]) === WEFT_USER)
      .map(({ path }) => conflict(path, `has ${field} ${WEFT_USER}, weft's own: its traffic would pass by the mesh`)),
  );
  const volume = (spec.volumes ?? []).flatMap(({ name }, i) =>
    isOurVolume(name) ? [conflict(['spec', 'volumes', i, 'name'], `is "${name}", which is weft's own`)] : [],
  );
  const taken = all.flatMap(({ container, path }) =>
    (container.ports ?? []).flatMap(({ containerPort, protocol }, i) => {
      const listener = (protocol ?? 'TCP') === 'TCP' ? LISTENERS.get(containerPort) : undefined;
      if (listener === undefined) return [];
      const message = `is ${containerPort}, where weft's ${listener} listens: one of them would not start`;
      return [conflict([...path, 'ports', i, 'containerPort'], message, 'let the application listen at another port')];
    }),
  );
  return [...named, ...user, ...volume, ...taken];
}

function conflict(path: Complaint['path'], message: string, advice = ''): Complaint {
  return { path, message, advice, at: 'value' };
}

function listeners(): Map<number, string> {
  const bootstrap = parseBootstrap([], {});
  if (!bootstrap.ok) throw new Error(bootstrap.error.join());
  const { admin, outbound, inbound, metrics, ready } = bootstrap.value;
  return new Map([
    [admin.port, 'admin server'],
    ...outbound.map(({ port }) => [port, 'outbound listener'] as const),
    [inbound.port, 'inbound listener'],
    [metrics.port, 'metrics server'],
    [ready.port, 'readiness server'],
  ]);
}
