/** Chooses the endpoint of an attempt: the registry of picker kinds and the way to a picker. */
import type { Random } from '../../shared/random.ts';
import { MAGLEV, RING_HASH } from './balance/consistent-hash.ts';
import { LEAST_REQUEST } from './balance/least-request.ts';
import { PEAK_EWMA } from './balance/peak-ewma.ts';
import { RANDOM } from './balance/random.ts';
import { ROUND_ROBIN } from './balance/round-robin.ts';
import type { Pickable, Picker, PickerKind } from './picker.ts';

export type { LatencyEstimate, Pickable, Picker, PickerKind } from './picker.ts';

/** A new kind is one file in balance/ and one line here; the picker tests walk the array. */
export const PICKER_KINDS: readonly PickerKind[] = [ROUND_ROBIN, LEAST_REQUEST, RANDOM, PEAK_EWMA, RING_HASH, MAGLEV];

/** The picker over those of `endpoints` that are available now; throws as `pickerOver` does. */
export function createPicker<E extends Pickable>(type: string, endpoints: readonly E[], random: Random): Picker<E> {
  return pickerOver(
    type,
    endpoints.filter((endpoint) => endpoint.available),
    random,
  );
}

/**
 * The picker over exactly these, whatever is known of them. Throws on a type that the registry does not hold: compile
 * must have refused it.
 */
export function pickerOver<E extends Pickable>(type: string, endpoints: readonly E[], random: Random): Picker<E> {
  const kind = PICKER_KINDS.find((candidate) => candidate.type === type);
  if (kind === undefined) throw new Error(`no balancer is named ${type}`);
  return endpoints.length === 0 ? NOBODY : kind.build(endpoints, random);
}

const NOBODY: Picker<never> = { pick: () => null };
