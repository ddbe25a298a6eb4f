/** From a rule to the backend of one request, by weight. */

/** A share of a rule's requests; without a cluster the reference is invalid, and the share gets 500. */
export interface Share {
  readonly cluster: object | null;
  readonly weight: number;
}

export interface Shared<B extends Share> {
  readonly backends: readonly B[];
  readonly totalWeight: number;
}

/** The backend whose share `point` (from 0 to 1) falls into; null where all weights are zero. */
export function chooseBackend<B extends Share>(route: Shared<B>, point: number): B | null {
  const { backends } = route;
  if (backends.length === 1) return route.totalWeight > 0 ? (backends[0] as B) : null;
  let rest = point * route.totalWeight;
  for (let i = 0; i < backends.length; i++) {
    const backend = backends[i] as B;
    if (rest < backend.weight) return backend;
    rest -= backend.weight;
  }
  return null;
}
