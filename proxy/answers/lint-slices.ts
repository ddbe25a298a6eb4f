/** EndpointSlices and Services that miss each other: they meet by the names and protocols of their ports. */
import type { Problem } from '../../shared/problem.ts';
import type { Catalog, Entry } from '../config/compile/catalog.ts';
import { type EndpointSlice, SERVICE_NAME_LABEL } from '../config/model/endpoint-slice.ts';
import type { Service } from '../config/model/service.ts';
import type { Path } from '../config/place.ts';

export function lintSlices(catalog: Catalog): Problem[] {
  return [
    ...catalog.slices.flatMap((slice) => lintSlice(catalog, slice)),
    ...[...catalog.services.values()].flatMap((service) => lintService(catalog, service)),
  ];
}

const WARNING = { severity: 'warning' } as const;

/** What every port has that can be met. */
interface Named {
  readonly name: string;
  readonly protocol: string;
}

const meets = (one: Named, other: Named): boolean => one.name === other.name && one.protocol === other.protocol;

/** As people speak of it. */
function nameOf({ name, protocol }: Named): string {
  return name === '' ? `${protocol} port without a name` : `${protocol} port ${name}`;
}

function lintSlice({ services }: Catalog, slice: Entry<EndpointSlice>): Problem[] {
  const key = `${slice.namespace}/${slice.value.metadata.labels[SERVICE_NAME_LABEL]}`;
  const service = services.get(key);
  const warn = (path: Path, message: string, advice = ''): Problem =>
    slice.place.problem(path, message, advice, WARNING);
  if (service === undefined) return [warn(['metadata', 'labels'], `there is no Service ${key}`)];
  return slice.value.ports.flatMap((port, i) => {
    if (!service.value.spec.ports.some((each) => meets(each, port))) {
      const known = service.value.spec.ports.map(nameOf).join(', ');
      return [warn(['ports', i], `Service ${key} has no ${nameOf(port)}: nobody is called there`, known)];
    }
    const open = port.port === undefined && port.protocol === 'TCP';
    return open ? [warn(['ports', i], 'has no number: nobody is called there', 'port')] : [];
  });
}

/** A Service whose slices are all empty has nobody behind it just now, which is no mistake. */
function lintService(catalog: Catalog, service: Entry<Service>): Problem[] {
  const { ports, type } = service.value.spec;
  const slices = (catalog.slicesOf(service.key) ?? []).filter(({ value }) => value.endpoints.length > 0);
  if (type === 'ExternalName' || slices.length === 0) return [];
  return ports.flatMap((port, i) => {
    if (port.protocol !== 'TCP' || slices.some(({ value }) => value.ports.some((each) => meets(each, port)))) return [];
    const known = [...new Set(slices.flatMap(({ value }) => value.ports.map(nameOf)))].join(', ');
    const message = `none of its EndpointSlices has a ${nameOf(port)}: whoever calls it gets 503`;
    return [service.place.problem(['spec', 'ports', i], message, known, WARNING)];
  });
}
