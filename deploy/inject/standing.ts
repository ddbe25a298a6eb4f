/**
 * What stands of weft in a pod that is injected again. Between two calls of the webhook other admission plug-ins have changed
 * the pod (image names, pull policies, limits, mounts, order), and they are not asked again: so what stands is kept, and only what
 * weft has to know of the pod is brought up to date.
 */
import { createHash } from 'node:crypto';
import type { Container, EnvVar } from './pod.ts';
import type { PodSettings } from './settings.ts';
import { FACTS, initContainer, type PodFacts, sidecarContainer, volumes } from './sidecar.ts';

const NO_FACTS: PodFacts = { probes: '', metrics: '', exitWithApp: false, graceSeconds: 0 };
/** Nobody gains by a collision: it keeps a container as it is. */
const HASH_LENGTH = 16;

/** The same for two injections that add the same containers and volumes, up to what they know of the pod. */
export function fingerprint(settings: PodSettings): string {
  const made = [initContainer(settings), sidecarContainer(settings, NO_FACTS), volumes(settings)];
  return createHash('sha256').update(JSON.stringify(made)).digest('hex').slice(0, HASH_LENGTH);
}

interface Named {
  readonly name: string;
}

/** `ours` among `theirs`: what is in `standing` stays where and as it is, but for `renew`; the others come first or last. */
export function among<Item extends Named>(
  theirs: readonly Item[],
  ours: readonly Item[],
  standing: readonly Item[],
  where: 'first' | 'last',
  renew: (kept: Item, fresh: Item) => Item = (kept) => kept,
): Item[] {
  const all = [...theirs];
  for (const [i, item] of standing.entries()) {
    const fresh = ours.find(({ name }) => name === item.name);
    if (fresh !== undefined) all.splice(i, 0, renew(item, fresh));
  }
  const missing = ours.filter((fresh) => !standing.some(({ name }) => name === fresh.name));
  return where === 'first' ? [...missing, ...all] : [...all, ...missing];
}

/** The container as others left it, with what `fresh` knows of the pod; the same object where that has not changed. */
export function withFacts(kept: Container, fresh: Container): Container {
  const changed = FACTS.filter((name) => variableOf(kept, name)?.value !== variableOf(fresh, name)?.value);
  if (changed.length === 0) return kept;
  const now = changed.flatMap((name) => variableOf(fresh, name) ?? []);
  const env = kept.env ?? [];
  return {
    ...kept,
    env: [
      ...env.flatMap((each) => (changed.includes(each.name) ? now.filter(({ name }) => name === each.name) : [each])),
      ...now.filter(({ name }) => variableOf(kept, name) === undefined),
    ],
    // A classic sidecar's hook lasts as long as its drain.
    ...(changed.includes('WEFT_DRAIN') ? { lifecycle: fresh.lifecycle } : {}),
  };
}

function variableOf({ env }: Container, wanted: string): EnvVar | undefined {
  return env?.find(({ name }) => name === wanted);
}
